//! Certificates with the tools of Debian; those of others are played by scripts.

use std::fs;

use serde_json::json;

use super::Machine;

/// Makes certificates of two authorities in the machine.
const AUTHORITIES: &str = "
for name in one two; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9999 -subj \"/CN=imgtest $name\" \
        -keyout /$name.key -out /$name.pem 2>/dev/null
done
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server -keyout /server.key 2>/dev/null |
    openssl x509 -req -CA /one.pem -CAkey /one.key -days 9999 -out /server.pem 2>/dev/null";

#[tokio::test]
async fn the_machine_trusts_what_the_authority_signs() {
    let machine = Machine::debian();
    machine.sh(AUTHORITIES).await;
    let store = "/etc/ssl/certs/ca-certificates.crt";
    let verify = format!("openssl verify -CAfile {store} /server.pem");
    machine.sh(&format!("! {verify} 2>/dev/null")).await;
    let (one, both) = (machine.guest.at("the company's ca.pem"), machine.guest.at("both.pem"));
    let text = |name: &str| machine.text(&format!("/{name}.pem"));
    fs::write(&one, text("one").replace('\n', "\r\n")).unwrap();
    fs::write(&both, format!("# two\n{}{}", text("one"), text("two"))).unwrap();
    let first = machine.converges("certificate", json!({"files": [one]})).await;
    assert_eq!(first, ["certificate[the_company_s_ca]", "certificates[trust store]"]);
    machine.sh(&verify).await;
    assert_eq!(machine.text("/usr/local/share/ca-certificates/the_company_s_ca.crt"), text("one"));

    let second =
        machine.converges("certificate", json!({"files": [both], "certificate": "pair"})).await;
    assert_eq!(second, ["certificate[pair-1]", "certificate[pair-2]", "certificates[trust store]"]);
    machine.sh(&format!("openssl verify -CAfile {store} /two.pem")).await;
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_before_any_machine_is_changed() {
    let machine = Machine::debian();
    machine.sh(AUTHORITIES).await;
    let before = machine.guest.comm.commands.lock().unwrap().len();
    let file = machine.guest.at("ca.pem");
    for (text, part) in [
        (machine.text("/one.key"), "ca.pem holds a private key"),
        (
            format!("{}{}", machine.text("/one.pem"), machine.text("/one.key")),
            "holds a private key",
        ),
        ("<html>404</html>".to_owned(), "has no certificate in PEM form"),
    ] {
        fs::write(&file, text).unwrap();
        let error = machine.run("certificate", json!({"files": [file]})).await.0.unwrap_err();
        assert!(error.contains(part) && !error.contains("BEGIN"), "{error}");
    }
    let error = machine
        .run("certificate", json!({"files": [machine.guest.at("none.pem")]}))
        .await
        .0
        .unwrap_err();
    assert!(error.contains("none.pem"), "{error}");
    assert_eq!(machine.guest.comm.commands.lock().unwrap().len(), before);
}

#[tokio::test]
async fn each_distribution_has_its_folder() {
    let file = |machine: &Machine| {
        let file = machine.guest.at("ca.pem");
        let body = format!("MIIB{}", "a".repeat(64));
        fs::write(
            &file,
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"),
        )
        .unwrap();
        json!({"files": [file]})
    };
    for (tool, folder, at) in [
        (
            "update-ca-trust",
            "/etc/pki/ca-trust/source/anchors",
            "/etc/pki/ca-trust/source/anchors/ca.pem",
        ),
        ("update-ca-certificates", "/etc/pki/trust/anchors", "/etc/pki/trust/anchors/ca.pem"),
        ("update-ca-certificates", "/srv", "/usr/local/share/ca-certificates/ca.crt"),
    ] {
        let machine = Machine::busybox();
        let error = machine.run("certificate", file(&machine)).await.0.unwrap_err();
        assert!(error.contains("install the package ca-certificates"), "{error}");
        machine.program(
            &format!("/sbin/{tool}"),
            "echo run >>/runs; [ ! -e /fail ] || { echo 'no space' >&2; exit 3; }",
        );
        fs::create_dir_all(machine.at(folder)).unwrap();
        let first = machine.converges("certificate", file(&machine)).await;
        assert_eq!(first, ["certificate[ca]", "certificates[trust store]"], "{at}");
        assert!(machine.text(at).starts_with("-----BEGIN"));
        assert_eq!(machine.text("/runs"), "run\n", "where it changed alone");

        machine.write("/fail", "");
        fs::remove_file(machine.at(at)).unwrap();
        let error = machine.run("certificate", file(&machine)).await.0.unwrap_err();
        assert!(error.contains(&format!("`{tool}` ended with exit code 3: no space")), "{error}");
        // The file is there now, and the store does not have it.
        let error = machine.run("certificate", file(&machine)).await.0.unwrap_err();
        assert!(error.contains("no space"), "{error}");
        fs::remove_file(machine.at("/fail")).unwrap();
        let again = machine.converges("certificate", file(&machine)).await;
        assert_eq!(again, ["certificates[trust store]"]);
    }
}

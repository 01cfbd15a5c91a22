//! apt's repositories with apt itself; apk is played by a script.

use std::fs;

use serde_json::json;

use super::{Machine, changed, find};

const KEY: &str =
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n";

fn machine() -> Machine {
    let machine = Machine::debian();
    machine.write("/etc/apt/sources.list", "");
    machine
}

/// A machine without repositories, and with one in /repo that needs no key.
async fn with_repository() -> Machine {
    let machine = machine();
    machine
        .sh("rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*; mkdir /repo; : >/repo/Packages")
        .await;
    machine
}

#[tokio::test]
async fn a_repository_comes_with_its_key() {
    let machine = machine();
    let (armored, binary) = (machine.guest.at("company.asc"), machine.guest.at("company.gpg"));
    fs::write(&armored, KEY).unwrap();
    fs::write(&binary, b"\x99\x01\x02").unwrap();
    let settings = |key: &camino::Utf8Path, build_only: bool| {
        json!({
            "repository": "company", "uris": ["https://MIRROR/debian"], "suites": ["bookworm", "bookworm-updates"],
            "components": ["main", "it's"], "architectures": ["amd64"], "key": key, "build_only": build_only,
            "update": false,
        })
    };
    let first = machine.converges("repository", settings(&armored, false)).await;
    assert_eq!(first, ["repository[company]"]);
    assert_eq!(
        machine.text("/etc/apt/sources.list.d/company.sources"),
        "Types: deb\nURIs: https://MIRROR/debian\nSuites: bookworm bookworm-updates\nComponents: main it's\n\
         Architectures: amd64\nSigned-By: /etc/apt/keyrings/company.asc\n"
    );
    assert_eq!(machine.text("/etc/apt/keyrings/company.asc"), KEY);

    // Its key in another form takes the place of the first.
    let (end, report) = machine.run("repository", settings(&binary, false)).await;
    end.unwrap();
    let diff = find(&report, "repository[company]").diff.clone().unwrap();
    assert!(
        diff.contains("-/etc/apt/keyrings/company.asc: file")
            && diff.contains("+Signed-By: /etc/apt/keyrings/company.gpg"),
        "{diff}"
    );
    assert_eq!(fs::read(machine.at("/etc/apt/keyrings/company.gpg")).unwrap(), b"\x99\x01\x02");
    assert!(!machine.at("/etc/apt/keyrings/company.asc").is_file());

    machine.sh("rm /etc/apt/sources.list.d/company.sources").await;
    machine.converges("repository", settings(&armored, true)).await;
    let text = machine.text("/etc/apt/sources.list.d/company.imgbake-build-only.sources");
    assert!(text.starts_with("# imgbake: build-only\nTypes: deb\n"), "{text}");
    assert!(
        text.ends_with("Signed-By: /etc/apt/keyrings/company.imgbake-build-only.asc\n"),
        "{text}"
    );
    // apt reads what was written.
    machine.sh("apt-get --print-uris update >/targets").await;
    assert!(
        machine.text("/targets").contains("https://MIRROR/debian/dists/bookworm-updates/InRelease")
    );
}

#[tokio::test]
async fn lists_are_refreshed_where_it_changed() {
    let machine = with_repository().await;
    // Without a key apt takes it only where the template says nothing of a key and the address is trusted.
    machine.sh("echo 'APT::Get::AllowUnauthenticated \"true\"; Acquire::AllowInsecureRepositories \"true\";' >/etc/apt/apt.conf.d/99test").await;
    let settings = json!({"repository": "local", "uris": ["file:/repo"], "suites": ["./"]});
    let first = machine.converges("repository", settings.clone()).await;
    assert_eq!(first, ["repository[local]"]);
    assert_eq!(
        machine.text("/etc/apt/sources.list.d/local.sources"),
        "Types: deb\nURIs: file:/repo\nSuites: ./\n"
    );
    machine.sh("ls /var/lib/apt/lists | grep -q repo").await;

    machine.sh("rm -rf /repo; rm /etc/apt/sources.list.d/local.sources").await;
    let (end, report) = machine.run("repository", settings.clone()).await;
    let error = end.unwrap_err();
    assert!(error.contains("repository[local] failed: `apt-get update` failed: E: "), "{error}");
    assert_eq!(changed(&report), [""; 0]);
    // The file is there now, and is not all that is declared.
    let error = machine.run("repository", settings.clone()).await.0.unwrap_err();
    assert!(error.contains("`apt-get update` failed: E: "), "{error}");
    machine.sh("mkdir /repo; : >/repo/Packages").await;
    assert_eq!(machine.converges("repository", settings).await, [""; 0]);
    machine.sh("ls /var/lib/apt/lists | grep -q repo; ! ls -A /run | grep pending").await;
}

#[tokio::test]
async fn what_is_no_key_is_refused_before_any_machine_is_changed() {
    let machine = machine();
    let private = KEY.replace("PUBLIC", "PRIVATE");
    for (text, part) in [
        (private.as_str(), "`key_text` is a private key"),
        ("<html>404</html>", "`key_text` is no OpenPGP key"),
    ] {
        let settings = json!({"repository": "a", "uris": ["https://MIRROR"], "suites": ["./"], "key_text": text});
        let error = machine.run("repository", settings).await.0.unwrap_err();
        assert!(error.contains(part) && !error.contains("BEGIN"), "{error}");
    }
    assert!(machine.guest.comm.commands.lock().unwrap().is_empty());
}

#[tokio::test]
async fn apk_has_lines_and_named_keys() {
    let machine = Machine::busybox();
    machine.write("/etc/apk/repositories", "https://MIRROR/alpine/main\n");
    machine.program("/sbin/apk", "echo \"$@\" >>/calls");
    let key = machine.guest.at("team@company.rsa.pub");
    fs::write(&key, "-----BEGIN PUBLIC KEY-----\nMII=\n-----END PUBLIC KEY-----\n").unwrap();
    let uris = ["https://MIRROR/company/it's", "@edge https://MIRROR/edge"];
    let settings = json!({"repository": "company", "uris": uris, "key": key});
    assert_eq!(machine.converges("repository", settings).await, ["repository[company]"]);
    assert_eq!(
        machine.text("/etc/apk/repositories"),
        format!("https://MIRROR/alpine/main\n{}\n{}\n", uris[0], uris[1])
    );
    assert!(machine.text("/etc/apk/keys/team@company.rsa.pub").contains("BEGIN PUBLIC KEY"));
    assert_eq!(machine.text("/calls"), "--wait 600 update\n", "once");
    // A slash at the end makes no other repository.
    let same = json!({"repository": "main", "uris": ["https://MIRROR/alpine/main/"]});
    assert_eq!(machine.converges("repository", same).await, [""; 0]);

    let apt = json!({"repository": "a", "uris": ["x"], "suites": ["./"]});
    assert!(machine.run("repository", apt).await.0.unwrap_err().contains("this form is for apt"));
}

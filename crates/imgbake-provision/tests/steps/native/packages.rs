//! Packages with apt and dpkg themselves, from a repository of the test; apk is played by a script.

use serde_json::json;

use super::{Machine, changed, find};

/// Makes a repository in /repo, of packages of a name and version each, and of nothing else.
const REPOSITORY: &str = r#"
make() {
    mkdir -p "/tmp/p/DEBIAN" "/tmp/p/usr/share/$1"
    echo "$2" >"/tmp/p/usr/share/$1/version"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: test\nDescription: test\n%s' "$1" "$2" "$3" \
        >/tmp/p/DEBIAN/control
    rm -f /tmp/p/DEBIAN/conffiles
    if [ "$1" = imgtest-conf ]; then
        mkdir -p /tmp/p/etc
        echo "$2" >/tmp/p/etc/imgtest.conf
        echo /etc/imgtest.conf >/tmp/p/DEBIAN/conffiles
    fi
    dpkg-deb --build /tmp/p "/repo/$1_$2.deb" >/dev/null
    rm -rf /tmp/p
}
index() {
    for deb in /repo/*.deb; do
        dpkg-deb -f "$deb"
        printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${deb##*/}" "$(wc -c <"$deb")" \
            "$(sha256sum <"$deb" | cut -d' ' -f1)"
    done >/repo/Packages
}
mkdir -p /repo
"#;

/// A machine whose apt knows that repository alone.
async fn machine() -> Machine {
    let machine = Machine::debian();
    machine
        .sh(&format!(
            "{REPOSITORY}
make imgtest-lib 1.0 ''
make imgtest-extra 1.0 ''
make imgtest-app 1.0 \"Depends: imgtest-lib
Recommends: imgtest-extra
Provides: imgtest-virtual
\"
make imgtest-app 2.0 'Depends: imgtest-lib
Provides: imgtest-virtual
'
make imgtest-conf 1.0 ''
index
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /etc/apt/apt.conf.d/*
echo 'deb [trusted=yes] file:/repo ./' >/etc/apt/sources.list"
        ))
        .await;
    machine
}

#[tokio::test]
async fn packages_come_stay_and_go() {
    let machine = machine().await;
    let first = machine
        .converges("packages", json!({"install": ["imgtest-app=1.*", "imgtest-conf"]}))
        .await;
    assert_eq!(first, ["package[imgtest-app]", "package[imgtest-conf]", "package[imgtest-lib]"]);
    assert_eq!(machine.text("/usr/share/imgtest-app/version"), "1.0\n");

    // What came as a dependency and is then asked for by its name stays without what needed it.
    let named = json!({"install": ["imgtest-lib"]});
    assert_eq!(machine.converges("packages", named).await, ["package[imgtest-lib]"]);
    machine.sh("apt-mark showmanual | grep -qx imgtest-lib; apt-mark auto imgtest-app").await;
    let provided = json!({"install": ["imgtest-virtual"]});
    assert_eq!(machine.converges("packages", provided).await, ["package[imgtest-virtual]"]);
    machine.sh("apt-mark showmanual | grep -qx imgtest-app").await;

    // Another version, with what the user wrote into a configuration file kept.
    machine
        .sh(&format!("{REPOSITORY} echo mine >/etc/imgtest.conf; make imgtest-conf 2.0 ''; index"))
        .await;
    let (end, report) =
        machine.run("packages", json!({"install": ["imgtest-conf=2.0"], "upgrade": true})).await;
    end.unwrap();
    assert_eq!(machine.text("/etc/imgtest.conf"), "mine\n");
    assert_eq!(machine.text("/usr/share/imgtest-conf/version"), "2.0\n");
    assert_eq!(changed(&report), ["packages[upgrade]"], "each change is counted once");
    let upgraded = find(&report, "packages[upgrade]").diff.clone().unwrap();
    assert!(
        upgraded.contains("-imgtest-conf 1.0") && upgraded.contains("+imgtest-conf 2.0"),
        "{upgraded}"
    );
    let down = machine
        .converges("packages", json!({"install": ["imgtest-app=1.0"], "recommends": true}))
        .await;
    assert_eq!(down, ["package[imgtest-app]", "package[imgtest-extra]"]);

    // What another package provides is there.
    let provided = machine.converges("packages", json!({"install": ["imgtest-virtual"]})).await;
    assert_eq!(provided, [""; 0]);

    let held = machine.converges("packages", json!({"hold": ["imgtest-app"]})).await;
    assert_eq!(held, ["hold[imgtest-app]"]);
    let (_, report) = machine.run("packages", json!({"upgrade": true})).await;
    assert_eq!(changed(&report), [""; 0], "it is held: {report:?}");
    let free = machine
        .converges("packages", json!({"unhold": ["imgtest-app"], "remove": ["imgtest-lib"]}))
        .await;
    assert_eq!(free, ["hold[imgtest-app]", "package[imgtest-lib]", "package[imgtest-app]"]);

    let removed =
        machine.converges("packages", json!({"remove": ["imgtest-conf", "no-such-package"]})).await;
    assert_eq!(removed, ["package[imgtest-conf]"]);
    assert!(machine.at("/etc/imgtest.conf").exists());
    let (end, report) =
        machine.run("packages", json!({"remove": ["imgtest-conf"], "purge": true})).await;
    end.unwrap();
    let diff = find(&report, "package[imgtest-conf]").diff.clone().unwrap();
    assert_eq!(diff, "-state: config-files\n+state: absent");
    assert!(!machine.at("/etc/imgtest.conf").exists());
}

#[tokio::test]
async fn what_apt_cannot_do_is_reported_in_its_words() {
    let machine = machine().await;
    let (end, report) =
        machine.run("packages", json!({"install": ["imgtest-lib", "imgtest-none"]})).await;
    let error = end.unwrap_err();
    assert!(
        error.contains("packages[install] failed: ")
            && error.contains("E: Unable to locate package imgtest-none"),
        "{error}"
    );
    assert_eq!((report.counts.failed, report.exit_code), (1, Some(1)));

    let (end, _) = machine.run("packages", json!({"install": ["imgtest-lib=9"]})).await;
    assert!(end.unwrap_err().contains("Version '9' for 'imgtest-lib' was not found"));
    let (end, _) = machine.run("packages", json!({"hold": ["imgtest-lib"]})).await;
    assert!(end.unwrap_err().contains("hold[imgtest-lib] failed: it is not installed"));

    // A repository that is gone is an error, and not an old list.
    machine.sh("mv /repo /gone").await;
    let (end, _) = machine.run("packages", json!({"install": ["imgtest-lib"]})).await;
    let error = end.unwrap_err();
    assert!(
        error.contains("packages[package lists] failed: `apt-get update` failed: E: "),
        "{error}"
    );

    // A script of a package that fails.
    machine
        .sh(&format!(
            "mv /gone /repo; {REPOSITORY} mkdir -p /tmp/p/DEBIAN; printf '#!/bin/sh\necho the disk is \\\"odd\\\" >&2; exit 7\n' \
             >/tmp/p/DEBIAN/preinst; chmod 755 /tmp/p/DEBIAN/preinst; make imgtest-bad 1 ''; index"
        ))
        .await;
    let (end, report) = machine.run("packages", json!({"install": ["imgtest-bad"]})).await;
    let error = end.unwrap_err();
    assert!(error.contains("`apt` ended with exit code 100: E: Sub-process"), "{error}");
    let printed: String = report.output.lines.iter().map(|line| line.line.as_str()).collect();
    assert!(printed.contains("the disk is \"odd\""), "{printed}");
}

#[tokio::test]
async fn a_package_manager_that_lies_is_found_out() {
    let machine = machine().await;
    machine.program("/usr/local/sbin/apt-get", "echo all went well");
    let (end, report) = machine.run("packages", json!({"install": ["imgtest-lib"]})).await;
    let error = end.unwrap_err();
    assert!(error.contains("package[imgtest-lib] failed: it is not installed, though"), "{error}");
    assert_eq!(report.counts.changed, 0);
    let (end, _) = machine.run("packages", json!({"remove": ["dash"]})).await;
    assert!(end.unwrap_err().contains("package[dash] failed: it is still there (installed)"));
}

/// apk as far as the step needs it: installed packages are lines of /apk.
const APK: &str = r#"
echo "$@" >>/calls
[ "$1" != --wait ] || shift 2
case $1 in
    info) cat /apk 2>/dev/null ;;
    update) ;;
    add) shift; for one; do echo "$one" >>/etc/apk/world; grep -q "^$one-[0-9]" /apk && continue; case $one in bad) echo "ERROR: bad (no such package):" >&2; exit 1 ;; esac
        echo "${one%[=@]*}-1.2.3-r0" >>/apk; grep -q dep-with /apk || echo dep-with-dash-0.1-r2 >>/apk; done; sort -u /apk -o /apk ;;
    del) shift; for one; do grep -v "^$one-1" /apk >/apk.new || :; mv /apk.new /apk; done ;;
    upgrade) sed -i 's/-1.2.3-r0/-1.2.4-r1/' /apk ;;
esac
"#;

#[tokio::test]
async fn apk_works_as_well() {
    let machine = Machine::busybox();
    machine.program("/sbin/apk", APK);
    machine.write("/etc/apk/world", "");
    let first = machine.converges("packages", json!({"install": ["nginx", "curl"]})).await;
    assert_eq!(first, ["package[nginx]", "package[curl]", "package[dep-with-dash]"]);
    let calls = machine.text("/calls");
    assert_eq!(calls.matches("add").count(), 1, "all at once, and once: {calls}");
    assert!(
        calls.starts_with(
            "info -v\ninfo -v\ninfo -v\n--wait 600 update\n--wait 600 add nginx curl\n"
        ),
        "{calls}"
    );
    // What came as a dependency and is then asked for by its name stays without what needed it.
    let named = json!({"install": ["dep-with-dash"]});
    assert_eq!(machine.converges("packages", named).await, ["package[dep-with-dash]"]);
    assert_eq!(machine.text("/etc/apk/world"), "nginx\ncurl\ndep-with-dash\n");
    let (end, report) = machine.run("packages", json!({"upgrade": true, "update": false})).await;
    end.unwrap();
    assert_eq!(changed(&report), ["packages[upgrade]"], "{report:?}");
    let gone = machine.converges("packages", json!({"remove": ["curl", "none"]})).await;
    assert_eq!(gone, ["package[curl]"]);
    for (settings, part) in [
        (json!({"install": ["bad"]}), "ERROR: bad (no such package)"),
        (json!({"hold": ["nginx"]}), "apk holds no packages"),
        (json!({"install": ["a"], "from": "edge"}), "`from` is for apt"),
    ] {
        let error = machine.run("packages", settings).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn other_package_managers_are_named() {
    let machine = Machine::busybox();
    for (program, part) in [
        (None, "neither apt nor apk"),
        (Some("zypper"), "`zypper` is not supported yet"),
        (Some("dnf"), "`dnf` is"),
    ] {
        if let Some(name) = program {
            machine.program(&format!("/usr/bin/{name}"), "");
        }
        let error = machine.run("packages", json!({"install": ["a"]})).await.0.unwrap_err();
        assert!(
            error.contains("packages[package manager] failed: ") && error.contains(part),
            "{error}"
        );
    }
}

#[tokio::test]
async fn lists_that_are_fresh_are_not_refreshed_again() {
    let machine = machine().await;
    // Lists of `file:` are the repository's own.
    machine.sh("sed -i s/file:/copy:/ /etc/apt/sources.list").await;
    machine.program(
        "/usr/local/sbin/apt-get",
        "case \"$*\" in *update) echo >>/updates ;; esac; exec /usr/bin/apt-get \"$@\"",
    );
    let updates = || machine.text("/updates").lines().count();
    for (settings, expected) in [
        (json!({"install": ["imgtest-lib"]}), 1),
        (json!({"install": ["imgtest-extra"]}), 1),
        // An upgrade asks for what is newest, and so does who asks for it.
        (json!({"upgrade": true}), 2),
        (json!({"install": ["imgtest-extra"], "update": true}), 3),
    ] {
        machine.run("packages", settings.clone()).await.0.unwrap();
        assert_eq!(updates(), expected, "{settings}");
    }
    // What they do not have may be new.
    machine.sh(&format!("{REPOSITORY} make imgtest-new 1.0 ''; index")).await;
    machine.run("packages", json!({"install": ["imgtest-new"]})).await.0.unwrap();
    assert_eq!(updates(), 4);
    // A source that changed, and lists that are gone.
    for (change, package, expected) in [
        ("touch /etc/apt/sources.list", "imgtest-conf", 5),
        ("rm -rf /var/lib/apt/lists/*", "imgtest-app", 6),
    ] {
        machine.sh(change).await;
        machine.run("packages", json!({"install": [package]})).await.0.unwrap();
        assert_eq!(updates(), expected, "{change}");
    }
}

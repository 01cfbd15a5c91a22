//! Services with systemctl itself, which changes the root's files as no systemd runs there; what runs, and OpenRC, is
//! played by scripts.

use serde_json::json;

use super::{Machine, changed, find};

#[tokio::test]
async fn units_are_as_declared() {
    let machine = Machine::debian();
    machine.write(
        "/etc/systemd/system/img-test.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
    );
    machine.write("/usr/lib/systemd/system/img-static.service", "[Service]\nExecStart=/bin/true\n");
    for (settings, diff) in [
        (json!({"enable": ["img-test"]}), "-state: disabled\n+state: enabled"),
        (json!({"mask": ["img-later.service"]}), "-state: not-found\n+state: masked"),
        (json!({"unmask": ["img-later.service"]}), "-state: masked\n+state: not-found"),
        (json!({"disable": ["img-test"]}), "-state: enabled\n+state: disabled"),
        (json!({"mask": ["img-static"]}), "-state: static\n+state: masked"),
        (json!({"unmask": ["img-static"]}), "-state: masked\n+state: static"),
    ] {
        let (end, report) = machine.run("service", settings.clone()).await;
        end.unwrap_or_else(|error| panic!("{settings}: {error}"));
        assert_eq!(report.resources[0].diff.as_deref(), Some(diff), "{settings}");
        let (end, report) = machine.run("service", settings.clone()).await;
        // What is not there can be masked, and is not there after that.
        assert_eq!(
            (end.is_ok(), changed(&report)),
            (!diff.ends_with("not-found"), vec![]),
            "{settings}: {report:?}"
        );
    }
    let (_, report) = machine.run("service", json!({"disable": ["img-static"]})).await;
    assert!(
        find(&report, "service[img-static]").message.as_ref().unwrap().contains("it is static")
    );
}

#[tokio::test]
async fn what_cannot_be_is_told() {
    let machine = Machine::debian();
    machine.write("/usr/lib/systemd/system/img-static.service", "[Service]\nExecStart=/bin/true\n");
    machine.write(
        "/etc/systemd/system/img-broken.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=a/b\n",
    );
    for (settings, part) in [
        (json!({"enable": ["nosuch"]}), "service[nosuch] failed: there is no unit `nosuch`"),
        (json!({"disable": ["nosuch"]}), "there is no unit `nosuch`"),
        (
            json!({"enable": ["img-static"]}),
            "it is static after `enable`: its file has no [Install] section",
        ),
        (json!({"enable": ["img-broken"]}), "service[img-broken] failed: "),
    ] {
        let (end, report) = machine.run("service", settings.clone()).await;
        let error = end.unwrap_err();
        assert!(error.contains(part), "{settings}: {error}");
        assert_eq!(report.counts.changed, 0);
    }
}

#[tokio::test]
async fn services_are_started_and_stopped() {
    let machine = Machine::debian();
    machine.program(
        "/usr/local/sbin/systemctl",
        r#"case $1 in
    is-enabled) echo disabled; exit 1 ;;
    is-active) [ -e "/run/active-$3" ] ;;
    start) [ "$2" = broken ] && { echo 'Job for broken.service failed.' >&2; exit 1; }; [ "$2" = lazy ] || touch "/run/active-$2" ;;
    stop) rm "/run/active-$2" ;;
esac"#,
    );
    assert_eq!(
        machine.converges("service", json!({"start": ["a", "b@x"]})).await,
        ["service[a]", "service[b@x]"]
    );
    assert_eq!(
        machine.converges("service", json!({"stop": ["a"], "start": ["b@x"]})).await,
        ["service[a]"]
    );
    for (unit, part) in [
        ("broken", "`systemctl` ended with exit code 1: Job for broken.service failed."),
        ("lazy", "it does not run after it was started"),
    ] {
        let error = machine.run("service", json!({"start": [unit]})).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn openrc_is_spoken_as_well() {
    let machine = Machine::busybox();
    machine.program(
        "/sbin/rc-update",
        r#"case $1 in add) touch "/etc/runlevels/$3/$2" ;; *) rm /etc/runlevels/*/$3 ;; esac"#,
    );
    machine.program("/sbin/rc-service", r"case $2 in status) [ -e /run/on-$1 ] ;; start) touch /run/on-$1 ;; stop) rm /run/on-$1 ;; esac");
    machine.write("/etc/init.d/sshd", "");
    machine.write("/etc/runlevels/default/.keep", "");
    let settings = json!({"enable": ["sshd"], "start": ["sshd"]});
    assert_eq!(machine.converges("service", settings).await, ["service[sshd]", "service[sshd]"]);
    let settings = json!({"disable": ["sshd"], "stop": ["sshd"]});
    assert_eq!(machine.converges("service", settings).await, ["service[sshd]", "service[sshd]"]);
    for (settings, part) in [
        (json!({"enable": ["nosuch"]}), "there is no unit `nosuch`"),
        (json!({"mask": ["sshd"]}), "OpenRC cannot mask a service"),
    ] {
        let error = machine.run("service", settings).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

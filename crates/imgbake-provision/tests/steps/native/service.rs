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
        assert_eq!((end, changed(&report)), (Ok(()), vec![]), "{settings}: {report:?}");
    }
    let (_, report) = machine.run("service", json!({"disable": ["img-static"]})).await;
    assert!(
        find(&report, "service[img-static]").message.as_ref().unwrap().contains("it is static")
    );
}

/// A name that systemd has only while the unit is enabled, and a unit that is enabled by others.
#[tokio::test]
async fn aliases_and_indirect_units_are_what_they_stand_for() {
    let machine = Machine::debian();
    let unit = |install: &str| format!("[Service]\nExecStart=/bin/true\n[Install]\n{install}\n");
    let folder = "/usr/lib/systemd/system";
    let real = unit("WantedBy=multi-user.target\nAlias=img-alias.service");
    machine.write(&format!("{folder}/img-real.service"), &real);
    machine.write(&format!("{folder}/img-indirect.service"), &unit("Also=img-also.service"));
    let also = unit("WantedBy=multi-user.target");
    machine.write(&format!("{folder}/img-also.service"), &also);
    machine.write(&format!("{folder}/-img.service"), &unit("WantedBy=multi-user.target"));
    let wants = "/etc/systemd/system/multi-user.target.wants";
    for (how, name, link, is_there) in [
        ("enable", "img-alias", "img-real.service", true),
        ("disable", "img-alias.service", "img-real.service", false),
        ("enable", "img-indirect", "img-also.service", true),
        ("disable", "img-indirect", "img-also.service", false),
    ] {
        let changes = machine.converges("service", json!({how: [name]})).await;
        assert_eq!(changes, [format!("service[{name}]")], "{how}");
        let found = machine.at(wants).join(link).is_symlink();
        assert_eq!(found, is_there, "{how} {name}");
    }
    let masked = machine.converges("service", json!({"mask": ["img-alias"]})).await;
    assert_eq!(masked, ["service[img-alias]"]);
    machine.sh("[ \"$(systemctl is-enabled img-real)\" = masked ]").await;
    let error = machine.run("service", json!({"enable": ["img-alias"]})).await.0.unwrap_err();
    assert!(error.contains("it is masked: `unmask` it first"), "{error}");
    let unmasked = machine.converges("service", json!({"unmask": ["img-alias"]})).await;
    assert_eq!(unmasked, ["service[img-alias]"]);
    // The name is no option.
    let dash = machine.converges("service", json!({"enable": ["-img"]})).await;
    assert_eq!(dash, ["service[-img]"]);
}

/// States that no root without a systemd has: systemctl is played by a script.
#[tokio::test]
async fn each_state_is_right_or_says_why_not() {
    let machine = Machine::debian();
    machine.program(
        "/usr/local/sbin/systemctl",
        r#"case $* in
    is-enabled*) cat /state; cat /why >&2; exit 1 ;;
    *) echo "$*" >>/calls; [ "$*" = "--runtime unmask -- x" ] && echo disabled >/state || echo enabled >/state ;;
esac"#,
    );
    for (state, how, expected) in [
        ("generated", "enable", Ok("")),
        ("generated", "disable", Err("it is generated: ")),
        ("enabled-runtime", "enable", Ok("enable -- x\n")),
        ("enabled-runtime", "disable", Ok("")),
        ("linked", "enable", Ok("enable -- x\n")),
        ("linked", "disable", Ok("")),
        ("transient", "enable", Err("it is transient: ")),
        ("transient", "disable", Ok("")),
        ("masked-runtime", "unmask", Ok("--runtime unmask -- x\n")),
        ("masked-runtime", "enable", Err("it is masked: ")),
        ("bad", "enable", Err("its unit file is invalid: ")),
        ("", "enable", Err("its state is unknown: Failed to connect to bus")),
    ] {
        machine.write("/state", &format!("{state}\n"));
        machine.write("/why", if state.is_empty() { "Failed to connect to bus\n" } else { "" });
        machine.write("/calls", "");
        let (end, _) = machine.run("service", json!({how: ["x"]})).await;
        match expected {
            Ok(calls) => {
                assert_eq!(end, Ok(()), "{how} {state}");
                assert_eq!(machine.text("/calls"), calls, "{how} {state}");
            }
            Err(part) => assert!(end.unwrap_err().contains(part), "{how} {state}"),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_is_reported() {
    let machine = Machine::debian();
    machine.write("/usr/lib/systemd/system/img-static.service", "[Service]\nExecStart=/bin/true\n");
    machine.write(
        "/etc/systemd/system/img-broken.service",
        "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=a/b\n",
    );
    for (settings, part) in [
        (json!({"enable": ["nosuch"]}), "service[nosuch] failed: there is no unit `nosuch`"),
        (json!({"disable": ["nosuch"]}), "there is no unit `nosuch`"),
        (json!({"enable": ["img-static"]}), "it is static: its file has no [Install] section"),
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
    is-active) [ -e "/run/active-$4" ] ;;
    start) [ "$3" = broken ] && { echo 'Job for broken.service failed.' >&2; exit 1; }; [ "$3" = lazy ] || touch "/run/active-$3" ;;
    stop) rm "/run/active-$3" ;;
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
async fn openrc_works_as_well() {
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

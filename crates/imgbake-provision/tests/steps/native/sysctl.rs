//! Kernel settings. The kernel's own are only read here; what writes them is played by a script.

use imgbake_types::spec::ProvisionSpec;
use serde_json::json;

use super::{Machine, changed, find};

#[tokio::test]
async fn what_the_kernel_has_already_is_not_set() {
    let machine = Machine::debian();
    let file = "/etc/sysctl.d/60.conf";
    let settings = json!({
        "settings": {"kernel.ostype": "Linux", "kernel": {"osrelease": release()}}, "file": file,
    });
    let first = machine.converges("sysctl", settings).await;
    assert_eq!(first, ["file[/etc/sysctl.d/60.conf]"]);
    let text = machine.text(file);
    assert_eq!(text, format!("kernel.osrelease = {}\nkernel.ostype = Linux\n", release()));
}

/// Two steps that name no file have two.
#[tokio::test]
async fn a_step_leaves_the_file_of_another_alone() {
    let machine = Machine::busybox();
    for (name, setting) in [("a", "vm.swappiness"), ("b", "vm.laptop_mode")] {
        let settings = json!({"settings": {setting: 1}, "apply": false});
        let spec = ProvisionSpec::of("sysctl", &settings).unwrap();
        let name = Some(format!("{}-{name}", machine.guest.root));
        machine.guest.report(&ProvisionSpec { name, ..spec }).await.0.unwrap();
    }
    let files = machine.sorted_names("/etc/sysctl.d");
    let mut texts: Vec<String> =
        files.iter().map(|name| machine.text(&format!("/etc/sysctl.d/{name}"))).collect();
    texts.sort();
    assert_eq!(texts, ["vm.laptop_mode = 1\n", "vm.swappiness = 1\n"], "{files:?}");
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()
}

#[tokio::test]
async fn settings_are_set_now_and_later() {
    let machine = Machine::debian();
    machine.program(
        "/usr/local/sbin/sysctl",
        r#"case $1 in
    -n) cat "/kernel/$2" || { echo "sysctl: cannot stat /proc/sys/$2: No such file" >&2; exit 255; } ;;
    *) case $3 in *readonly*) echo 'sysctl: permission denied on key "readonly"' >&2; exit 1 ;; esac
        echo "${3#*=}" >"/kernel/${3%%=*}" ;;
esac"#,
    );
    machine.write("/kernel/vm.swappiness", "60\n");
    machine.write("/kernel/net.ipv4.tcp_rmem", "4096\t131072\t6291456\n");
    machine.write("/kernel/readonly", "0\n");
    let table = json!({"vm.swappiness": 10, "net.ipv4.tcp_rmem": "4096 131072  6291456"});
    let settings = json!({"settings": table, "file": "/etc/sysctl.d/it's.conf"});
    let (end, report) = machine.run("sysctl", settings.clone()).await;
    end.unwrap();
    assert_eq!(changed(&report), ["sysctl[vm.swappiness]", "file[/etc/sysctl.d/it's.conf]"]);
    assert_eq!(
        find(&report, "sysctl[vm.swappiness]").diff.as_deref(),
        Some("-value: 60\n+value: 10")
    );
    assert_eq!(machine.text("/kernel/vm.swappiness"), "10\n");
    assert_eq!(changed(&machine.run("sysctl", settings).await.1), [""; 0]);

    for (name, part) in [
        ("nosuch", "sysctl[nosuch] failed: the kernel does not know it: "),
        ("readonly", "permission denied on key \"readonly\""),
    ] {
        let settings = json!({"settings": {name: 1}, "file": "/etc/other.conf"});
        let error = machine.run("sysctl", settings).await.0.unwrap_err();
        assert!(error.contains(part), "{error}");
        assert!(!machine.at("/etc/other.conf").exists());
    }
    let later = json!({"settings": {"nosuch": 1}, "file": "/etc/other.conf", "apply": false});
    assert_eq!(machine.converges("sysctl", later).await, ["file[/etc/other.conf]"]);
    let missing = Machine::debian();
    missing.sh("rm $(command -v sysctl)").await;
    let error = missing.run("sysctl", json!({"settings": {"a": 1}})).await.0.unwrap_err();
    assert!(error.contains("the machine has no `sysctl`: install the package procps"), "{error}");
}

#[tokio::test]
async fn values_that_no_file_can_hold_are_refused() {
    let machine = Machine::busybox();
    for table in [
        json!({"a.b": "1\nc.d = 2"}),
        json!({"a b": 1}),
        json!({"a": 1.5}),
        json!({"a": []}),
        json!({"a": ""}),
    ] {
        let error = machine.run("sysctl", json!({"settings": table})).await.0.unwrap_err();
        assert!(error.contains("cannot be one of the kernel"), "{error}");
    }
}

//! Tools of the build: apt and dpkg themselves remove what steps recorded, from a root in the test's folder.

use std::path::Path;

use super::tree::{Machine, SHELLS, Shell, spec};
use crate::report::PhaseReport;

/// Runs a command line that must succeed.
#[expect(clippy::disallowed_methods, reason = "a test that makes packages has no job")]
fn sh(dir: &Path, line: &str) -> String {
    let mut command = std::process::Command::new("/bin/sh");
    let output = command.args(["-ec", line]).current_dir(dir).output().expect("runs");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes apt and dpkg work on the machine's tree.
fn apt(machine: &Machine) {
    let root = machine.path("");
    let at = root.to_string_lossy();
    machine.write("var/lib/dpkg/status", "");
    machine.write("etc/apt/sources.list", "");
    for folder in [
        "var/lib/dpkg/updates",
        "var/lib/dpkg/info",
        "var/cache/apt",
        "etc/apt/apt.conf.d",
        "etc/apt/sources.list.d",
        "etc/apt/preferences.d",
        "debs",
    ] {
        std::fs::create_dir_all(machine.path(folder)).expect("makes a folder");
    }
    machine.write(
        "apt.conf",
        &format!(
            "Dir \"{at}\";\nDir::State::status \"{at}var/lib/dpkg/status\";\nDir::Log \"{at}var/log\";\n\
             Dir::Bin::methods \"/usr/lib/apt/methods\";\n\
             DPkg::Options {{ \"--root={at}\"; \"--force-script-chrootless\"; \"--log={at}dpkg.log\"; }};\n"
        ),
    );
    for tool in ["apt-get", "apt-mark"] {
        machine.stub(tool, &format!("APT_CONFIG={at}apt.conf exec /usr/bin/{tool} \"$@\""));
    }
    machine.stub("dpkg-query", &format!("exec /usr/bin/dpkg-query --root={at} \"$@\""));
}

/// Installs packages, each with what it depends on; `auto` as a step's `install` leaves them.
fn installed(machine: &Machine, packages: &[(&str, &str, bool)]) {
    let root = machine.path("");
    let mut automatic = Vec::new();
    for (name, depends, auto) in packages {
        let depends =
            if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
        machine.write(
            &format!("debs/{name}/DEBIAN/control"),
            &format!(
                "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\n\
                 Installed-Size: 7\n{depends}Description: d\n"
            ),
        );
        machine.write(&format!("debs/{name}/opt/{name}"), "x");
        if *auto {
            automatic.push(*name);
        }
    }
    sh(
        &root,
        "for d in debs/*/; do dpkg-deb -b --root-owner-group \"$d\" \"${d%/}.deb\" >&2; done\n\
         dpkg --root=\"$PWD\" --log=\"$PWD/dpkg.log\" --force-depends -i debs/*.deb >&2",
    );
    if !automatic.is_empty() {
        sh(&root, &format!("APT_CONFIG=$PWD/apt.conf apt-mark auto {}", automatic.join(" ")));
    }
}

fn names(machine: &Machine) -> Vec<String> {
    let list =
        "dpkg-query --root=\"$PWD\" -W -f '${db:Status-Abbrev}${Package}\\n' | sed -n 's/^ii *//p'";
    sh(&machine.path(""), list).lines().map(str::to_owned).collect()
}

#[test]
fn packages_that_only_a_tool_needs_go() {
    for shell in SHELLS {
        let machine = Machine::new(shell);
        apt(&machine);
        installed(
            &machine,
            &[
                ("tool", "only-tool, shared, chosen", true),
                ("only-tool", "", true),
                ("shared", "", true),
                // A later step installed it by its name.
                ("chosen", "", false),
                ("app", "shared\nSuggests: only-tool", false),
                // Nothing needed it before the tool came.
                ("leftover", "", true),
            ],
        );
        machine.write("var/lib/imgbake/tools/tool/apt", "tool\nonly-tool\nshared\nchosen\n");
        machine.write("etc/passwd", "root:x:0:0:\n_tool:x:9:9:\n_tool-2:x:8:8:\n_app:x:7:7:\n");
        machine.write("etc/shadow", "root:*:\n_tool:!:\n");
        machine.write("etc/group", "_tool:x:9:\n_own:x:8:_app,_tool\n_log:x:6:_tool,_tool-2\n");
        machine.write("var/lib/imgbake/tools/tool/users", "_tool\n_app\n.*\n");
        machine.write("var/lib/imgbake/tools/tool/groups", "_tool\n");
        machine.write("var/lib/dpkg/info/app.postinst", "adduser --system _app\n");
        let reported = machine.seal(&spec(&[], &[]));
        let accounts = ["passwd", "shadow", "group"]
            .map(|name| machine.read(&format!("etc/{name}")).expect("is there"));
        assert_eq!(
            accounts,
            [
                "root:x:0:0:\n_tool-2:x:8:8:\n_app:x:7:7:\n",
                "root:*:\n",
                "_own:x:8:_app\n_log:x:6:_tool-2\n"
            ]
        );
        assert_eq!(
            names(&machine),
            ["app", "chosen", "leftover", "shared"],
            "{shell:?} {reported}"
        );
        assert!(!machine.path("var/lib/imgbake").exists());
        let report = PhaseReport::parse(&reported);
        assert!(report.ended && report.notes.is_empty(), "{reported}");
        let of = report.removals.iter().find(|removal| removal.operation == "build-tools");
        let of = of.expect("ran");
        assert_eq!(of.paths[..2], ["package only-tool", "package tool"]);
        assert!(of.bytes >= 2 * 7 * 1024, "{of:?}");
        let automatic = sh(&machine.path(""), "APT_CONFIG=$PWD/apt.conf apt-mark showauto");
        assert_eq!(automatic, "leftover\nshared\n");
    }
}

#[test]
fn a_tool_that_a_step_wanted_stays_with_what_it_needs() {
    let machine = Machine::new(Shell::Dash);
    apt(&machine);
    installed(&machine, &[("tool", "only-tool", false), ("only-tool", "", true)]);
    machine.write("var/lib/imgbake/tools/tool/apt", "tool\nonly-tool\n");
    machine.seal(&spec(&[], &[]));
    assert_eq!(names(&machine), ["only-tool", "tool"]);
}

/// What apt says of its end is one thing, what is gone another.
#[test]
fn what_is_reported_is_what_is_gone() {
    let machine = Machine::new(Shell::Dash);
    apt(&machine);
    installed(&machine, &[("tool", "", true), ("other", "", true)]);
    machine.write("var/lib/imgbake/tools/tool/apt", "tool\nother\n");
    let at = machine.path("").to_string_lossy().into_owned();
    machine.stub(
        "apt-get",
        &format!(
            "case \"$*\" in *' -s '*) APT_CONFIG={at}apt.conf exec /usr/bin/apt-get \"$@\" ;; esac\n\
             dpkg --root={at} --log={at}dpkg.log --purge other >&2; echo 'E: no space'; exit 100"
        ),
    );
    let report = PhaseReport::parse(&machine.seal(&spec(&[], &[])));
    let of =
        report.removals.iter().find(|removal| removal.operation == "build-tools").expect("ran");
    let packages: Vec<&String> =
        of.paths.iter().filter(|path| path.starts_with("package")).collect();
    assert_eq!(packages, ["package other"]);
    assert_eq!(report.notes, ["tools of the build are not removed (tool): E: no space"]);

    let machine = Machine::new(Shell::Dash);
    machine.stub("apt-get", "echo 'E: dpkg was interrupted' >&2; exit 100");
    machine.write("var/lib/imgbake/tools/tool/apt", "tool\n");
    let report = PhaseReport::parse(&machine.seal(&spec(&[], &[])));
    assert_eq!(report.notes, ["tools of the build are not removed: E: dpkg was interrupted"]);
}

#[test]
fn folders_links_and_virtual_packages_go() {
    for shell in SHELLS {
        let machine = Machine::new(shell);
        machine.write("opt/imgbake-salt/bin/salt-call", "x");
        machine.write("opt/own/file", "x");
        machine.write("usr/local/bin/own", "x");
        std::os::unix::fs::symlink(
            "/opt/imgbake-salt/bin/salt-call",
            machine.path("usr/local/bin/salt-call"),
        )
        .expect("links");
        machine.write(
            "var/lib/imgbake/tools/salt/folders",
            "/opt/imgbake-salt\n/opt/../home\n/opt/\n/\n",
        );
        machine.write(
            "var/lib/imgbake/tools/salt/links",
            "/usr/local/bin/salt-call\n/usr/local/bin/own\n/usr/local/bin/salt\n",
        );
        std::os::unix::fs::symlink("/opt/own/file", machine.path("usr/local/bin/salt"))
            .expect("links");
        machine.write("var/lib/imgbake/tools/ansible/apk", ".imgbake-ansible\n.imgbake-gone\n");
        apk(&machine, "echo busybox >$LIST");
        machine.write("home/web/file", "x");
        let reported = machine.seal(&spec(&[], &[]));
        assert!(!machine.path("opt/imgbake-salt").exists(), "{reported}");
        assert!(!machine.path("usr/local/bin/salt-call").is_symlink());
        for kept in ["opt/own/file", "usr/local/bin/own", "home/web/file"] {
            assert!(machine.path(kept).exists(), "{shell:?} {kept}");
        }
        // A step has pointed it elsewhere.
        assert!(machine.path("usr/local/bin/salt").is_symlink());
        let calls = machine.calls();
        let deleted: Vec<&String> = calls.iter().filter(|call| call.contains("del")).collect();
        assert_eq!(deleted, ["apk del .imgbake-ansible"]);
        let items: Vec<&str> =
            reported.lines().filter_map(|line| line.strip_prefix("item\t0\tpackage ")).collect();
        assert_eq!(items, [".imgbake-ansible", "ansible"], "{reported}");
    }
}

/// An apk that has a few packages, in a list of the tree, with what it does to remove some.
fn apk(machine: &Machine, del: &str) {
    machine.write("apk.list", "busybox\n.imgbake-ansible\nansible\n");
    let list = machine.path("apk.list").to_string_lossy().into_owned();
    machine.stub(
        "apk",
        &format!(
            "LIST={list}; case \"$1 $2\" in 'info -e') grep -qxF -e \"$3\" $LIST ;; 'info ') cat $LIST ;; *) {del} ;; esac"
        ),
    );
}

#[test]
fn what_cannot_be_removed_is_reported() {
    for (del, why) in [
        ("echo 'ERROR: database is locked' >&2; exit 1", "ERROR: database is locked"),
        ("echo 'World updated'", "World updated"),
    ] {
        let machine = Machine::new(Shell::Busybox);
        apk(&machine, del);
        machine.write("var/lib/imgbake/tools/ansible/apk", ".imgbake-ansible\n");
        let report = PhaseReport::parse(&machine.seal(&spec(&[], &[])));
        assert_eq!(
            report.notes,
            [format!("the packages of .imgbake-ansible are not removed: {why}")]
        );
        let of = report.removals.iter().find(|removal| removal.operation == "build-tools");
        assert!(of.expect("ran").paths.iter().all(|path| !path.starts_with("package")));
    }
}

#[test]
fn skipping_keeps_the_tools_and_their_lists() {
    let machine = Machine::new(Shell::Dash);
    machine.write("var/lib/imgbake/tools/ansible/apk", ".imgbake-ansible\n");
    machine.seal(&spec(&["build-tools"], &[]));
    assert!(
        machine.calls().is_empty() && machine.path("var/lib/imgbake/tools/ansible/apk").exists()
    );
}

//! The late phase: what shutting down wrote goes, the hook goes, trimming comes last.

use super::tree::{Machine, NONCE, SHELLS, Shell, spec};
use crate::report::PhaseReport;

const HOOK: &str = "usr/lib/systemd/system-shutdown/zz-imgbake-seal";

#[test]
fn cleans_what_shutting_down_wrote_and_removes_itself() {
    for shell in SHELLS {
        let machine = Machine::new(shell);
        machine.seal(&spec(&[], &[]));
        assert!(machine.path(HOOK).exists() && machine.path("run/imgbake/late").exists());
        for path in [
            "var/lib/systemd/random-seed",
            "var/lib/systemd/timesync/clock",
            "var/log/journal/1/system.journal",
        ] {
            machine.write(path, "again");
        }
        machine.write("var/log/wtmp", "again");
        machine.write("tmp/late", "again");
        machine.write("etc/machine-id", "again");
        let console = machine.power_off("poweroff");
        let report = PhaseReport::from_console(&console, NONCE);
        assert!(report.ended && report.failure.is_none() && report.notes.is_empty(), "{console}");
        for path in [
            "var/lib/systemd/random-seed",
            "var/lib/systemd/timesync/clock",
            "var/log/journal/1",
            "tmp/late",
        ] {
            assert!(!machine.path(path).exists(), "{shell:?} {path}");
        }
        assert_eq!(
            (machine.read("var/log/wtmp").as_deref(), machine.read("etc/machine-id").as_deref()),
            (Some(""), Some(""))
        );
        assert!(
            !machine.path("usr/lib/systemd/system-shutdown").exists(),
            "a folder that the seal made"
        );
        let trim = report.removals.last().expect("trims");
        assert_eq!((trim.operation.as_str(), trim.removed, trim.bytes), ("trim", 2, 2468));
        let calls: Vec<String> =
            machine.calls().into_iter().filter(|call| !call.starts_with("perl")).collect();
        assert_eq!(
            calls,
            [
                "mount -o remount,rw /",
                "mount -t vfat -o rw,umask=0077 /dev/vda2 /boot/efi",
                "fallocate -l 1099511627776 //.imgbake-fill",
                "fstrim -v /",
                "fstrim -v /boot/efi",
                "umount /boot/efi",
                "mount -o remount,ro /",
            ]
        );
        assert_eq!(
            machine.calls().iter().filter(|call| call.starts_with("perl")).count(),
            1,
            "one ext4"
        );
    }
}

#[test]
fn does_nothing_when_the_machine_restarts() {
    let machine = Machine::new(Shell::Dash);
    machine.seal(&spec(&[], &[]));
    assert_eq!(machine.power_off("reboot"), "");
    assert!(machine.path(HOOK).exists() && machine.calls().is_empty());
}

#[test]
fn a_distributions_folder_of_hooks_stays() {
    let machine = Machine::new(Shell::Dash);
    machine.write("usr/lib/systemd/system-shutdown/other", "#!/bin/sh\n");
    machine.seal(&spec(&[], &[]));
    machine.power_off("poweroff");
    assert!(
        machine.path("usr/lib/systemd/system-shutdown/other").exists()
            && !machine.path(HOOK).exists()
    );
}

#[test]
fn a_root_that_stays_locked_is_a_failure() {
    for shell in SHELLS {
        let machine = Machine::new(shell);
        machine.seal(&spec(&[], &[]));
        machine.stub("mount", "exit 1");
        let report = PhaseReport::from_console(&machine.power_off("poweroff"), NONCE);
        assert!(
            !report.ended && report.failure.is_some_and(|text| text.contains("cannot write to /"))
        );
    }
}

#[test]
fn a_disk_that_cannot_be_trimmed_is_told() {
    for shell in SHELLS {
        let machine = Machine::new(shell);
        machine.seal(&spec(&[], &[]));
        machine
            .stub("fstrim", "echo 'fstrim: /: the discard operation is not supported' >&2; exit 1");
        machine.stub("perl", "echo 'Inappropriate ioctl for device' >&2; exit 1");
        let report = PhaseReport::from_console(&machine.power_off("poweroff"), NONCE);
        assert!(report.ended);
        assert!(
            report.notes[0].contains("free blocks of / are not trimmed: fstrim: /: the discard"),
            "{:?}",
            report.notes
        );
        assert!(
            report.notes[1].ends_with("may be in it: Inappropriate ioctl for device"),
            "{:?}",
            report.notes
        );
    }
}

#[test]
fn without_trim_nothing_is_trimmed() {
    let machine = Machine::new(Shell::Dash);
    machine.seal(&spec(&["trim"], &[]));
    let report = PhaseReport::from_console(&machine.power_off("poweroff"), NONCE);
    assert!(report.ended && !machine.calls().iter().any(|call| call.starts_with("fstrim")));
}

#[test]
fn a_console_that_no_one_named_is_found() {
    let machine = Machine::new(Shell::Dash);
    machine.write("sys/class/tty/console/active", "tty0\n");
    machine.seal(&spec(&[], &[]));
    assert!(PhaseReport::from_console(&machine.power_off("poweroff"), NONCE).ended);
    let machine = Machine::new(Shell::Dash);
    std::fs::remove_file(machine.path("dev/ttyS0")).expect("removes");
    machine.write("dev/console", "");
    machine.seal(&spec(&[], &[]));
    machine.power_off("poweroff");
    assert!(
        PhaseReport::from_console(&machine.read("dev/console").expect("is there"), NONCE).ended
    );
}

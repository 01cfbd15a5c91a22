//! What a saved machine's state depends on beside the template, as text. Pure.

use camino::Utf8Path;
use imgbake_types::spec::Firmware;
use imgbake_types::{Arch, Digest};
use uuid::Uuid;

use crate::argv::{Argv, Engine};
use crate::firmware::UefiFiles;
use crate::probe::Qemu;
use crate::spec::QemuSpec;

/// Stands for the files of one machine.
const PLACEHOLDER: &str = "FILE";

/// What decides whether a state can be loaded.
#[derive(Debug)]
pub(crate) struct Signature<'a> {
    pub(crate) qemu: &'a Qemu,
    pub(crate) engine: Engine,
    /// The processor model, as QEMU is given it.
    pub(crate) cpu: &'a str,
    /// The host's processor and kernel, under KVM.
    pub(crate) host: Option<String>,
    pub(crate) firmware: Firmware,
    /// The firmware's file, its size and when it was changed, for UEFI.
    pub(crate) file: Option<String>,
    /// The command line that any such machine has.
    pub(crate) argv: &'a [String],
}

impl Signature<'_> {
    /// One line for people; two machines with the same line load each other's state.
    pub(crate) fn line(&self) -> String {
        let engine = match self.engine {
            Engine::Kvm => "kvm",
            Engine::Tcg => "tcg",
        };
        let firmware = match self.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        };
        let devices = Digest::sha256(self.argv.join("\0"));
        let parts = [
            Some(format!("qemu {}", self.qemu.full_version)),
            self.qemu.machine.clone(),
            Some(engine.to_owned()),
            Some(self.cpu.to_owned()),
            self.host.clone(),
            Some(firmware.to_owned()),
            self.file.clone(),
            Some(format!("devices {}", devices.short())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The command line of a machine with placeholders for its files: every device and option that is ours.
/// The template's own `args` may contain what nobody shall see, and are part of its steps' keys already.
pub(crate) fn argv(
    qemu: &Qemu,
    arch: Arch,
    engine: Engine,
    spec: &QemuSpec,
    firmware: Firmware,
) -> Vec<String> {
    let file = Utf8Path::new(PLACEHOLDER);
    let uefi = UefiFiles { code: file.to_owned(), vars: file.to_owned() };
    let argv = Argv {
        name: PLACEHOLDER,
        uuid: Uuid::nil(),
        arch,
        engine,
        cpu: spec.cpu.as_deref(),
        cpus: spec.cpus(),
        memory: spec.memory().as_bytes(),
        uefi: (firmware == Firmware::Uefi).then_some(&uefi),
        kernel: None,
        root: file,
        extra_disks: &[],
        seed: Some(file),
        strings: &[],
        qmp: PLACEHOLDER,
        console: PLACEHOLDER,
        login: PLACEHOLDER,
        pvpanic: qemu.pvpanic,
        vmgenid: qemu.vmgenid,
        incoming: true,
        extra: &[],
    };
    argv.build()
}

/// A host's processor and kernel out of `/proc/cpuinfo` and `/proc/sys/kernel/osrelease`: under KVM the
/// guest sees the processor through both. What distinguishes one processor from another: `model name` and
/// `stepping` on x86, `CPU implementer`, `part` and `revision` on Arm.
pub(crate) fn host(cpuinfo: &str, osrelease: &str) -> String {
    let field = |name: &str| {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        lines.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == name)
    };
    let names = ["model name", "stepping", "CPU implementer", "CPU part", "CPU revision"];
    let parts: Vec<String> = names
        .into_iter()
        .filter_map(field)
        .map(|(key, value)| match key {
            "model name" => value.to_owned(),
            _ => format!("{key} {value}"),
        })
        .collect();
    format!("{}, linux {}", parts.join(" "), osrelease.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qemu() -> Qemu {
        Qemu {
            version: "10.0.2".into(),
            full_version: "10.0.2 (Debian 1:10.0.2)".into(),
            machine: Some("pc-q35-10.0".into()),
            pvpanic: true,
            vmgenid: true,
        }
    }

    fn args() -> Vec<String> {
        argv(&qemu(), Arch::X86_64, Engine::Tcg, &QemuSpec::default(), Firmware::Bios)
    }

    #[test]
    fn the_same_machine_has_the_same_argv_whatever_its_files_are() {
        assert_eq!(args(), args());
        let more = QemuSpec { cpus: Some(7), ..QemuSpec::default() };
        let secret = QemuSpec { args: vec!["secret".into()], ..QemuSpec::default() };
        let of = |spec| argv(&qemu(), Arch::X86_64, Engine::Tcg, spec, Firmware::Bios);
        assert_ne!(of(&more), args());
        assert_eq!(of(&secret), args());
    }

    fn line(change: impl FnOnce(&mut Signature<'_>)) -> String {
        let (qemu, argv) = (qemu(), args());
        let mut signature = Signature {
            qemu: &qemu,
            engine: Engine::Tcg,
            cpu: "max,la57=off",
            host: None,
            firmware: Firmware::Bios,
            file: None,
            argv: &argv,
        };
        change(&mut signature);
        signature.line()
    }

    #[test]
    fn names_what_a_state_depends_on() {
        let plain = line(|_| {});
        let start = "qemu 10.0.2 (Debian 1:10.0.2), pc-q35-10.0, tcg, max,la57=off, bios, devices ";
        assert!(plain.starts_with(start), "{plain}");
        let kvm = line(|signature| {
            (signature.engine, signature.cpu) = (Engine::Kvm, "host");
            signature.host = Some("EPYC, linux 6.1".into());
        });
        assert!(kvm.contains("kvm, host, EPYC, linux 6.1, bios"), "{kvm}");
        let uefi = line(|signature| {
            (signature.firmware, signature.file) = (Firmware::Uefi, Some("/f/CODE.fd 5 B".into()));
        });
        assert!(uefi.contains("uefi, /f/CODE.fd 5 B, devices"), "{uefi}");
        let devices = line(|signature| signature.argv = &[]);
        assert_ne!(devices, plain);
    }

    #[test]
    fn a_host_is_its_processor_and_its_kernel() {
        let amd = "processor\t: 0\nmodel name\t: AMD EPYC\nstepping\t: 1\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\n";
        assert_eq!(host(amd, "6.1.0-40\n"), "AMD EPYC stepping 1, linux 6.1.0-40");
        let arm = "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0c\nCPU revision : 1\n";
        assert_eq!(
            host(arm, "6.1"),
            "CPU implementer 0x41 CPU part 0xd0c CPU revision 1, linux 6.1"
        );
    }
}

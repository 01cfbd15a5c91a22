//! Whether machines of a kind can be saved. Pure.
//!
//! A layer has the root disk and the extra disks. What a guest writes anywhere else on the host would be
//! missing from it, and the step that wrote it would not run again.

use crate::error::QemuError;
use crate::spec::QemuSpec;

/// QEMU's options that give a machine storage of its own, or that may: `-readconfig` reads any of them
/// from a file. Source: QEMU, `qemu-options.hx`.
const STORAGE: [&str; 18] = [
    "-blockdev",
    "-cdrom",
    "-drive",
    "-fda",
    "-fdb",
    "-fsdev",
    "-hda",
    "-hdb",
    "-hdc",
    "-hdd",
    "-incoming",
    "-mtdblock",
    "-pflash",
    "-readconfig",
    "-sd",
    "-snapshot",
    "-tpmdev",
    "-virtfs",
];

/// Whether a machine can be saved, or why not.
pub(crate) fn saves(spec: &QemuSpec) -> Result<(), QemuError> {
    // QEMU takes two dashes for one.
    let option = |arg: &String| format!("-{}", arg.trim_start_matches('-'));
    let dashed = spec.args.iter().filter(|arg| arg.starts_with('-'));
    match dashed.map(option).find(|option| STORAGE.contains(&option.as_str())) {
        Some(option) => Err(QemuError::Unsavable(format!(
            "`{option}` in its `args` gives it storage whose content would not be in the layer"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use imgbake_types::Size;

    use super::*;

    fn reason(args: &[&str]) -> Option<String> {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        saves(&QemuSpec { args, ..QemuSpec::default() }).err().map(|error| error.to_string())
    }

    #[test]
    fn storage_beside_the_root_disk_cannot_be_saved() {
        for args in [
            &["-drive", "file=/x,if=virtio"][..],
            &["--drive", "file=/x"],
            &["-device", "usb-ehci", "-hdb", "/x"],
            &["-virtfs", "local,path=/src,mount_tag=src,security_model=none"],
            &["-readconfig", "/etc/more.cfg"],
        ] {
            let reason = reason(args).unwrap();
            assert!(reason.contains("would not be in the layer"), "{reason}");
        }
    }

    #[test]
    fn the_rest_can() {
        for args in [
            &[][..],
            &["-device", "usb-ehci"],
            &["-chardev", "null,id=n", "-device", "virtio-serial-pci"],
            &["-smbios", "type=11,value=-drive"],
        ] {
            assert_eq!(reason(args), None, "{args:?}");
        }
        let spec = QemuSpec { extra_disks: vec![Size::mib(1)], ..QemuSpec::default() };
        assert!(saves(&spec).is_ok());
    }
}

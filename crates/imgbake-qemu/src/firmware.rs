//! Which UEFI firmware a machine starts from.
//!
//! Distributions describe theirs in `/usr/share/qemu/firmware/*.json` (QEMU,
//! `docs/interop/firmware.json`); an administrator's file of the same name in `/etc/qemu/firmware`
//! goes before it. Where nothing is described, Debian's and Ubuntu's usual paths are tried.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::RuntimeError;
use imgbake_runtime::error::io_at;
use imgbake_types::Arch;
use serde::Deserialize;

use crate::error::QemuError;

/// Where descriptors are; a later folder goes before an earlier one.
const DESCRIPTORS: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];

const USUAL_X86_64: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];

const USUAL_AARCH64: &[(&str, &str)] = &[
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    (
        "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
        "/usr/share/edk2/aarch64/vars-template-pflash.raw",
    ),
];

/// A firmware's code, and its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiFiles {
    /// The code; read only.
    pub code: Utf8PathBuf,
    /// The variables: a template, or a machine's own copy of it.
    pub vars: Utf8PathBuf,
}

/// The UEFI firmware of this host for an architecture.
///
/// # Errors
/// It is not installed.
pub fn uefi(arch: Arch) -> Result<UefiFiles, QemuError> {
    let described = read_descriptors().into_iter().filter_map(|text| described(&text, arch));
    let usual = match arch {
        Arch::X86_64 => USUAL_X86_64,
        Arch::Aarch64 => USUAL_AARCH64,
    };
    let usual =
        usual.iter().map(|&(code, vars)| UefiFiles { code: code.into(), vars: vars.into() });
    described
        .chain(usual)
        .find(|files| files.code.is_file() && files.vars.is_file())
        .ok_or_else(|| QemuError::NoFirmware { arch, package: package(arch) })
}

/// What identifies a firmware's bytes: its path, size and time of change.
pub(crate) fn stamp(file: &Utf8Path) -> Result<String, RuntimeError> {
    let metadata = fs::metadata(file).map_err(io_at("read", file))?;
    Ok(format!("{file} ({} bytes of {})", metadata.len(), metadata.mtime()))
}

/// The package with an architecture's UEFI firmware on Debian and Ubuntu.
pub const fn package(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "ovmf",
        Arch::Aarch64 => "qemu-efi-aarch64",
    }
}

/// The descriptors' texts, in the order of their file names, which is the order of preference.
fn read_descriptors() -> Vec<String> {
    let mut files = BTreeMap::new();
    for dir in DESCRIPTORS {
        let Ok(entries) = Utf8Path::new(dir).read_dir_utf8() else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().extension() == Some("json")) {
            files.insert(entry.file_name().to_owned(), entry.into_path());
        }
    }
    files.values().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    #[serde(default)]
    interface_types: Vec<String>,
    mapping: Mapping,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<Flash>,
    nvram_template: Option<Flash>,
}

#[derive(Deserialize)]
struct Flash {
    filename: Utf8PathBuf,
    format: String,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    #[serde(default)]
    machines: Vec<String>,
}

/// The files of a descriptor that fits our machines: flash, raw, and no Secure Boot, whose keys a
/// template would have to bring.
fn described(text: &str, arch: Arch) -> Option<UefiFiles> {
    let descriptor: Descriptor = serde_json::from_str(text).ok()?;
    let machine = match arch {
        Arch::X86_64 => "pc-q35-",
        Arch::Aarch64 => "virt-",
    };
    let fits_target = descriptor.targets.iter().any(|target| {
        target.architecture == arch.name()
            && target.machines.iter().any(|name| name.starts_with(machine))
    });
    let unwanted = ["secure-boot", "enrolled-keys", "requires-smm"];
    let plain = !descriptor.features.iter().any(|feature| unwanted.contains(&feature.as_str()));
    let uefi = descriptor.interface_types.iter().any(|kind| kind == "uefi");
    let (code, vars) = (descriptor.mapping.executable?, descriptor.mapping.nvram_template?);
    let raw = code.format == "raw" && vars.format == "raw";
    (fits_target && plain && uefi && raw && descriptor.mapping.device == "flash")
        .then_some(UefiFiles { code: code.filename, vars: vars.filename })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVMF: &str = r#"{
        "description": "UEFI firmware for x86_64", "interface-types": ["uefi"],
        "mapping": {"device": "flash",
            "executable": {"filename": "/f/CODE.fd", "format": "raw"},
            "nvram-template": {"filename": "/f/VARS.fd", "format": "raw"}},
        "targets": [{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}],
        "features": ["acpi-s3", "verbose-dynamic"], "tags": []}"#;

    #[test]
    fn takes_what_fits_and_nothing_else() {
        let files = UefiFiles { code: "/f/CODE.fd".into(), vars: "/f/VARS.fd".into() };
        assert_eq!(described(OVMF, Arch::X86_64), Some(files));
        assert_eq!(described(OVMF, Arch::Aarch64), None);
        for (from, to) in [
            ("acpi-s3", "secure-boot"),
            ("acpi-s3", "requires-smm"),
            ("\"uefi\"", "\"bios\""),
            ("\"flash\"", "\"memory\""),
            ("pc-q35-*", "microvm"),
            ("\"raw\"", "\"qcow2\""),
            ("{", "["),
        ] {
            assert_eq!(described(&OVMF.replace(from, to), Arch::X86_64), None, "{from} -> {to}");
        }
    }

    #[test]
    fn this_host_has_firmware_for_its_machines() {
        let files = uefi(Arch::X86_64).unwrap();
        assert!(files.code.is_file() && files.vars.is_file());
        assert!(!files.code.as_str().contains("secboot"), "{}", files.code);
    }
}

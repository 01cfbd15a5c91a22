//! What the installed QEMU is.

use imgbake_runtime::{Job, RuntimeError, Tool};
use imgbake_types::Arch;

use crate::argv::machine_type;
use crate::error::QemuError;

/// The QEMU of this host for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// Its version: `10.0.2`.
    pub(crate) version: String,
    /// The same with its package's version: `10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub(crate) full_version: String,
    /// The machine type that the short name means in it: `pc-q35-10.0`.
    pub(crate) machine: Option<String>,
    /// Whether it has the device `pvpanic-pci`.
    pub(crate) pvpanic: bool,
    /// Whether it has the device `vmgenid`.
    pub(crate) vmgenid: bool,
}

/// The program that runs an architecture's machines.
pub(crate) const fn tool(arch: Arch) -> Tool {
    match arch {
        Arch::X86_64 => Tool::new("qemu-system-x86_64", "qemu-system-x86"),
        Arch::Aarch64 => Tool::new("qemu-system-aarch64", "qemu-system-arm"),
    }
}

impl Qemu {
    /// Asks the program itself.
    pub(crate) async fn probe(job: &Job, arch: Arch) -> Result<Self, QemuError> {
        let tool = tool(arch);
        let asked = |args: &[&str]| Ok::<_, RuntimeError>(tool.command()?.args(args));
        let (version, devices, machines) =
            (asked(&["--version"])?, asked(&["-device", "help"])?, asked(&["-machine", "help"])?);
        let (version, devices, machines) =
            tokio::try_join!(version.run(job), devices.run(job), machines.run(job))?;
        let [version, devices, machines] =
            [&version, &devices, &machines].map(|text| String::from_utf8_lossy(text));
        let has = |device: &str| devices.contains(&format!("name \"{device}\""));
        let (full, number) = parse_version(&version).ok_or(QemuError::NoVersion(tool.program))?;
        Ok(Self {
            version: number,
            full_version: full,
            machine: parse_machine(&machines, machine_type(arch)),
            pvpanic: has("pvpanic-pci"),
            vmgenid: has("vmgenid"),
        })
    }
}

/// The version out of `QEMU emulator version 10.0.2 (Debian …)`: with its package's, and its number.
fn parse_version(text: &str) -> Option<(String, String)> {
    let (_, rest) = text.lines().next()?.split_once("version ")?;
    let number = rest.split_whitespace().next()?;
    Some((rest.trim().to_owned(), number.to_owned()))
}

/// What a short name means, out of lines like `q35   Standard PC (…) (alias of pc-q35-10.0)`.
fn parse_machine(text: &str, short: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(short))?;
    let (_, rest) = line.split_once("(alias of ")?;
    rest.split(')').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright";
        let (full, number) = parse_version(text).unwrap();
        assert_eq!(number, "7.2.22");
        assert_eq!(full, "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
        assert_eq!(parse_version("nonsense"), None);
    }

    #[test]
    fn resolves_the_machine_type() {
        let text = "Supported machines are:\npc-q35-9.2  Standard PC\n\
                    q35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.0)\n";
        assert_eq!(parse_machine(text, "q35").as_deref(), Some("pc-q35-10.0"));
        assert_eq!(parse_machine(text, "virt"), None);
    }
}

//! What the installed QEMU is.

use imgbake_build::BuildError;
use imgbake_runtime::{Job, Tool};
use imgbake_types::Arch;

/// The QEMU of this host for one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qemu {
    /// Its version: `10.0.2`.
    pub(crate) version: String,
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
    pub(crate) async fn probe(job: &Job, arch: Arch) -> Result<Self, BuildError> {
        let tool = tool(arch);
        let (version, devices) =
            (tool.command()?.arg("--version"), tool.command()?.args(["-device", "help"]));
        let (version, devices) = tokio::try_join!(version.run(job), devices.run(job))?;
        let (version, devices) =
            (String::from_utf8_lossy(&version), String::from_utf8_lossy(&devices));
        let has = |device: &str| devices.contains(&format!("name \"{device}\""));
        let version = parse_version(&version).ok_or_else(|| {
            BuildError::failed(format!("`{}` does not tell its version", tool.program))
        })?;
        Ok(Self { version, pvpanic: has("pvpanic-pci"), vmgenid: has("vmgenid") })
    }
}

/// The version out of `QEMU emulator version 10.0.2 (Debian …)`.
fn parse_version(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("version ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn reads_versions() {
        let text = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright";
        assert_eq!(parse_version(text).as_deref(), Some("7.2.22"));
        assert_eq!(parse_version("nonsense"), None);
    }
}

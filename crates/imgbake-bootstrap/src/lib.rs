//! A base OS disk from a distribution's packages.
//!
//! mmdebstrap makes a root; [`assemble`] makes a disk of it that boots under BIOS and UEFI. No mount
//! of a disk, no loop device: the file system is made at its offset in a file. The same packages and
//! the same key give the same bytes.

mod address;
mod assemble;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grub;
mod keyring;
mod layout;
mod packages;
mod pin;
mod release;
mod release_file;
mod rights;
mod root;
mod sources;

use async_trait::async_trait;
use imgbake_build::{BaseDisk, BuildError, LocalDisk, Pin, SourceContext, SourceProvider};
use imgbake_runtime::Job;
use imgbake_types::Arch;
use imgbake_types::plan::Source;
use imgbake_types::record::Parent;
use imgbake_types::spec::BootstrapSpec;

pub use assemble::{Assembled, DiskRequest, EPOCH, assemble};
pub use error::BootstrapError;
pub use layout::DiskLayout;
pub use packages::packages;
pub use rights::check_namespaces;
pub use root::sources_in_use;

/// Kernel messages go to the screen and to the serial port, which is `/dev/console`.
const CONSOLES: &str = "console=tty0 console=ttyS0,115200";
/// Arm's serial port is a PL011.
const CONSOLES_ARM: &str = "console=tty0 console=ttyAMA0,115200";

/// The source `bootstrap`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bootstrap;

impl Bootstrap {
    /// Whether this machine can install packages of an architecture: its own, or one that the kernel
    /// runs through binfmt_misc.
    fn check_arch(arch: Arch) -> Result<(), BootstrapError> {
        let emulated =
            camino::Utf8PathBuf::from(format!("/proc/sys/fs/binfmt_misc/qemu-{}", arch.name()));
        if arch == Arch::host() || emulated.exists() {
            return Ok(());
        }
        Err(BootstrapError::ForeignArch { host: Arch::host(), arch })
    }

    /// Packages are installed in namespaces; an ordinary user needs ids of its own for the root's users.
    fn check_ids() -> Result<(), BootstrapError> {
        if !root::is_root() {
            imgbake_runtime::Tool::new("newuidmap", "uidmap").find()?;
        }
        check_namespaces().map(drop)
    }
}

#[async_trait]
impl SourceProvider for Bootstrap {
    fn knows(&self, source: &Source) -> bool {
        matches!(source, Source::Bootstrap(_))
    }

    fn check(&self, source: &Source) -> Result<(), BuildError> {
        let spec = spec_of(source)?;
        root::MMDEBSTRAP.find()?;
        assemble::check_tools()?;
        Self::check_ids()?;
        keyring::find(spec)?;
        Ok(())
    }

    /// A digest of what the mirrors' Release files say that there is: suites, components and
    /// architecture of the source. It only names: signatures are checked when the disk is made.
    async fn pin(&self, job: &Job, source: &Source, arch: Arch) -> Result<Pin, BuildError> {
        pin::pin(job, spec_of(source)?, arch, release_file::Limits::default()).await
    }

    async fn fetch(
        &self,
        context: &SourceContext<'_>,
        source: &Source,
    ) -> Result<BaseDisk, BuildError> {
        let spec = spec_of(source)?;
        self.check(source)?;
        Self::check_arch(context.arch)?;
        let consoles = match context.arch {
            Arch::X86_64 => CONSOLES,
            Arch::Aarch64 => CONSOLES_ARM,
        };
        let cmdline = spec
            .cmdline
            .as_ref()
            .map_or_else(|| consoles.to_owned(), |words| format!("{consoles} {words}"));
        let out = root::folder(context.job);
        let request = DiskRequest {
            arch: context.arch,
            key: context.key,
            size: spec.size,
            cmdline: &cmdline,
            grub: None,
            out: &out,
        };
        assemble::check_grub(context.arch, assemble::grub_folder(&request))?;
        let made = root::make(context, spec, &request).await?;
        let local = LocalDisk {
            path: made.path,
            format: imgbake_disk::DiskFormat::Raw,
            virtual_size: made.layout.size,
            kernel: Some(made.kernel),
            extra: Vec::new(),
        };
        Ok(BaseDisk {
            location: local.into(),
            parent: Parent {
                reference: None,
                native: None,
                digest: context.key.clone(),
                kind: "bootstrap".to_owned(),
            },
            bytes: made.bytes,
            cached: false,
        })
    }
}

fn spec_of(source: &Source) -> Result<&BootstrapSpec, BootstrapError> {
    match source {
        Source::Bootstrap(spec) => Ok(spec),
        _ => Err(BootstrapError::OtherSource),
    }
}

#[cfg(test)]
mod tests {
    use imgbake_types::spec::{BootstrapSpec, Distribution};

    /// A source with nothing but what it must have.
    pub(crate) fn spec(distribution: Distribution, suite: &str) -> BootstrapSpec {
        BootstrapSpec {
            distribution,
            suite: suite.to_owned(),
            mirror: None,
            components: None,
            packages: Vec::new(),
            updates: None,
            kernel: None,
            keyring: None,
            cmdline: None,
            size: None,
        }
    }
}

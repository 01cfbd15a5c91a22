//! This crate's error.

use std::path::PathBuf;

use camino::Utf8PathBuf;
use imgbake_build::capture::disk_error;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_disk::DiskError;
use imgbake_runtime::RuntimeError;
use imgbake_types::{Arch, Size};

/// Why there is no disk of a distribution's packages.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The source is no bootstrap: this crate was asked by mistake.
    #[error("the source to bootstrap is of another kind; this is a fault of imgbake")]
    OtherSource,
    /// This machine cannot run the programs of that architecture.
    #[error("this {host} machine cannot run the programs of {arch} that a bootstrap runs")]
    ForeignArch {
        /// This machine's.
        host: Arch,
        /// The source's.
        arch: Arch,
    },
    /// This process may not make namespaces.
    #[error("packages cannot be installed here: {why}")]
    NoNamespaces {
        /// What is missing.
        why: String,
        /// What to do.
        help: String,
    },
    /// A platform of GRUB is not installed.
    #[error("GRUB's {platform} modules are not installed ({folder})")]
    NoGrub {
        /// GRUB's name for it.
        platform: &'static str,
        /// Where they would be.
        folder: Utf8PathBuf,
        /// The package that has them.
        package: &'static str,
    },
    /// The distribution's keys are not installed.
    #[error("the keys of the archive are not installed ({file})")]
    NoKeys {
        /// Where they would be.
        file: Utf8PathBuf,
        /// The package that has them.
        package: &'static str,
    },
    /// The template's keyring does not exist.
    #[error("there is no keyring at {0}")]
    NoKeyring(Utf8PathBuf),
    /// The template's disk is too small for a boot loader.
    #[error("a bootable disk has at least {0}")]
    TooSmall(Size),
    /// The template's mirror has security updates nobody knows where.
    #[error("where are the security updates beside the mirror {0}? Its path has no part `debian`")]
    UnknownSecurity(String),
    /// mmdebstrap has no mirror for a suite.
    #[error("mmdebstrap knows no mirror of {suite}: {said}")]
    NoMirror {
        /// The suite.
        suite: String,
        /// What mmdebstrap said.
        said: String,
    },
    /// No list of sources names a mirror of the suite.
    #[error("no mirror of {0} is known: nobody can be asked for it")]
    NobodyToAsk(String),
    /// A mirror has no such suite.
    #[error("{mirror} has no suite `{suite}`: it has neither InRelease nor Release")]
    NoSuite {
        /// The mirror, without user and password.
        mirror: String,
        /// The suite.
        suite: String,
    },
    /// A mirror did not answer, or with something else.
    #[error("cannot ask {address}: {why}")]
    NoAnswer {
        /// What was asked for, without user and password.
        address: String,
        /// Why not.
        why: String,
    },
    /// A Release file that is none.
    #[error("cannot read the Release file of {of}: it {why}")]
    Release {
        /// The suite's address, without user and password.
        of: String,
        /// What it does or lacks.
        why: String,
    },
    /// The packages could not be installed.
    #[error("the packages of {suite} could not be installed: {first}")]
    Packages {
        /// The suite.
        suite: String,
        /// The first error that mmdebstrap reported.
        first: String,
        /// How it ended.
        source: RuntimeError,
    },
    /// GRUB's `boot.img` is something else.
    #[error("{0} is not a GRUB boot image")]
    NotBootImage(Utf8PathBuf),
    /// grub-mkimage made too much.
    #[error("grub-mkimage made a core of {0} bytes: it does not fit its partition")]
    CoreTooLarge(usize),
    /// A temporary folder's name is not text.
    #[error("the folder {} is not named in UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// A program or a file failed, or the job was cancelled.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The disk could not be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl BootstrapError {
    /// What a caller may act on.
    pub const fn kind(&self) -> BuildErrorKind {
        match self {
            Self::ForeignArch { .. }
            | Self::NoNamespaces { .. }
            | Self::NoGrub { .. }
            | Self::NoKeys { .. } => BuildErrorKind::Lacking,
            Self::NoKeyring(_)
            | Self::TooSmall(_)
            | Self::UnknownSecurity(_)
            | Self::NoMirror { .. }
            | Self::NobodyToAsk(_) => BuildErrorKind::Usage,
            Self::NoSuite { .. } => BuildErrorKind::NotFound,
            _ => BuildErrorKind::Failed,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::ForeignArch { arch, .. } => format!(
                "apt-get install qemu-user-static binfmt-support, or build on a machine of {arch}"
            ),
            Self::NoNamespaces { help, .. } => help.clone(),
            Self::NoGrub { package, .. } | Self::NoKeys { package, .. } => {
                format!("apt-get install {package}")
            }
            Self::UnknownSecurity(_) => {
                "name a mirror whose path holds `debian`, with `debian-security` beside it, or set updates = false"
                    .to_owned()
            }
            Self::NoMirror { .. } | Self::NobodyToAsk(_) => {
                "name one by `mirror` in `[source] bootstrap`".to_owned()
            }
            Self::NoSuite { .. } => {
                "is the suite's name right, and is it in this archive?".to_owned()
            }
            _ => return None,
        })
    }
}

impl From<BootstrapError> for BuildError {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Runtime(error) => error.into(),
            BootstrapError::Disk(error) => disk_error(error),
            error => {
                let (kind, help) = (error.kind(), error.help());
                Self::of(kind, error).help_if_any(help)
            }
        }
    }
}

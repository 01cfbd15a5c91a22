//! The disk that a machine starts from: a file of this host, or one that a builder keeps itself.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::DiskFormat;
use imgbake_types::Digest;
use imgbake_types::record::Parent;

use crate::{BuildError, BuildErrorKind};

/// A disk that a machine can start from. Nothing writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseDisk {
    /// Where it is.
    pub location: DiskLocation,
    /// What a version built on it records as its parent.
    pub parent: Parent,
    /// Bytes fetched or made to get it: what the stage shows.
    pub bytes: u64,
    /// Whether it was there already.
    pub cached: bool,
}

/// Where a base disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskLocation {
    /// A file of this host.
    Local(LocalDisk),
    /// Known to one builder alone.
    Native(NativeDisk),
}

/// An image file of this host, for a machine's overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDisk {
    /// The image file.
    pub path: Utf8PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// The virtual disk's size in bytes.
    pub virtual_size: u64,
    /// The disk's kernel beside it, where the source has it at hand.
    pub kernel: Option<KernelFiles>,
    /// What the machine's extra disks hold that it was frozen with, as qcow2 images, the first disk's first.
    /// A machine's further extra disks are empty.
    pub extra: Vec<Utf8PathBuf>,
}

/// Where what an extra disk holds is frozen to, beside the root disk's file; `number` counts from 1.
pub fn extra_beside(disk: &Utf8Path, number: usize) -> Utf8PathBuf {
    let stem = disk.file_stem().unwrap_or_default();
    disk.with_file_name(format!("{stem}-extra-{number}.qcow2"))
}

/// A kernel that QEMU can load directly, with the command line the disk's boot loader gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFiles {
    /// The kernel image.
    pub kernel: Utf8PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<Utf8PathBuf>,
    /// The command line.
    pub cmdline: String,
}

/// A disk that a builder keeps itself, such as an AMI or a Glance image. No byte of it is on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeDisk {
    /// The kind of the builder that has it, as `[builder.KIND]` names it.
    pub builder: String,
    /// The builder's name for it; nobody else reads anything into it.
    pub id: String,
    /// The virtual disk's size in bytes, where it is known.
    pub virtual_size: Option<u64>,
}

impl BaseDisk {
    /// A disk that is native to a builder.
    pub fn native(disk: NativeDisk) -> Self {
        Self { parent: disk.parent(), location: disk.into(), bytes: 0, cached: true }
    }

    /// The image file; none of a native disk.
    pub const fn local(&self) -> Option<&LocalDisk> {
        match &self.location {
            DiskLocation::Local(disk) => Some(disk),
            DiskLocation::Native(_) => None,
        }
    }

    /// The virtual disk's size in bytes, where it is known.
    pub const fn virtual_size(&self) -> Option<u64> {
        match &self.location {
            DiskLocation::Local(disk) => Some(disk.virtual_size),
            DiskLocation::Native(disk) => disk.virtual_size,
        }
    }

    /// The image file, for a builder that boots nothing else.
    ///
    /// # Errors
    /// It is native to some builder (kind `Usage`).
    pub fn local_for(&self, builder: &str) -> Result<&LocalDisk, BuildError> {
        match &self.location {
            DiskLocation::Local(disk) => Ok(disk),
            DiskLocation::Native(disk) => Err(disk.foreign(builder)),
        }
    }

    /// The native disk, for a builder that boots nothing else.
    ///
    /// # Errors
    /// It is a file of this host, or native to another builder (kind `Usage`).
    pub fn native_to(&self, builder: &str) -> Result<&NativeDisk, BuildError> {
        match &self.location {
            DiskLocation::Local(disk) => {
                let message = format!(
                    "the builder `{builder}` cannot boot {}: it boots native disks only",
                    disk.path
                );
                Err(BuildError::new(BuildErrorKind::Usage, message)
                    .help(format!("use a source that is native to `{builder}`")))
            }
            DiskLocation::Native(disk) => disk.check(builder).map(|()| disk),
        }
    }

    /// What a machine that started from it has as its disks once those were frozen: the root disk to a qcow2
    /// file, its `extra_disks` beside that one ([`extra_beside`]).
    ///
    /// # Errors
    /// It is native to a builder: no file of this host can be based on it.
    pub fn frozen_to(&self, path: Utf8PathBuf, extra_disks: usize) -> Result<Self, BuildError> {
        let Some(disk) = self.local() else {
            return Err(BuildError::failed("a machine's native disk is not frozen to a file"));
        };
        let (format, virtual_size) = (DiskFormat::Qcow2, disk.virtual_size);
        let extra = (1..=extra_disks).map(|number| extra_beside(&path, number)).collect();
        let frozen = LocalDisk { path, format, virtual_size, kernel: None, extra };
        let parent = self.parent.clone();
        Ok(Self { location: frozen.into(), parent, bytes: 0, cached: true })
    }
}

impl NativeDisk {
    /// Whether a builder can boot it.
    ///
    /// # Errors
    /// It is native to another one (kind `Usage`).
    pub fn check(&self, builder: &str) -> Result<(), BuildError> {
        if self.builder == builder { Ok(()) } else { Err(self.foreign(builder)) }
    }

    /// What a version built on it records as its parent.
    pub fn parent(&self) -> Parent {
        Parent {
            reference: None,
            native: Some(self.to_string()),
            digest: Digest::sha256(self.to_string()),
            kind: "native".to_owned(),
        }
    }

    fn foreign(&self, builder: &str) -> BuildError {
        let Self { builder: owner, id, .. } = self;
        let message = format!(
            "the builder `{builder}` cannot boot the disk `{id}`: it is native to the builder `{owner}`"
        );
        let help = format!("use `[builder.{owner}]`, or a source that gives a disk image");
        BuildError::new(BuildErrorKind::Usage, message).help(help)
    }
}

/// `KIND:ID`
impl fmt::Display for NativeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.builder, self.id)
    }
}

impl From<LocalDisk> for DiskLocation {
    fn from(disk: LocalDisk) -> Self {
        Self::Local(disk)
    }
}

impl From<NativeDisk> for DiskLocation {
    fn from(disk: NativeDisk) -> Self {
        Self::Native(disk)
    }
}

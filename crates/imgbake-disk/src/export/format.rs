//! The formats that can be written.

use std::{fmt, str::FromStr};

use crate::{DiskError, Result};

/// The formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportFormat {
    /// The disk's bytes; holes stay holes.
    Raw,
    /// qcow2 version 3, compressed with zstd.
    Qcow2,
    /// VMDK, `streamOptimized`: what VMware imports.
    Vmdk,
    /// VHD, fixed: what Azure takes. Its size is rounded up to 1 MiB.
    Vhd,
    /// VHDX, dynamic: what Hyper-V takes.
    Vhdx,
}

impl ExportFormat {
    /// Every format.
    pub const ALL: [Self; 5] = [Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vhd, Self::Vhdx];

    /// The file name's usual end, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

impl FromStr for ExportFormat {
    type Err = DiskError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == name).ok_or_else(|| {
            let why = format!("export format `{name}`: there are raw, qcow2, vmdk, vhd and vhdx");
            DiskError::unsupported(why)
        })
    }
}

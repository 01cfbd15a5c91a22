//! Writing a disk in the format a platform wants. Same disk, same seed: same bytes.

mod pipeline;
mod qcow2;
mod raw;
mod vhd;
mod vhdx;
mod vmdk;

use std::{fmt, str::FromStr};

use camino::Utf8Path;

use crate::{
    DiskError, DiskSource, Extent, Result, bytes::to_usize, file::OutFile, source::pieces,
};

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

/// How to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Decides every identifier inside the file; the disk's digest is a good one.
    pub seed: String,
    /// zstd's level for qcow2.
    pub zstd_level: i32,
    /// Threads that compress; 0 for as many as the machine has (at most 8).
    pub threads: usize,
}

impl ExportOptions {
    /// The defaults, with identifiers from `seed`.
    pub fn new(seed: impl Into<String>) -> Self {
        Self { seed: seed.into(), zstd_level: 3, threads: 0 }
    }
}

/// Writes `source` to `path` as `format`, and syncs it. The file is made, or emptied; a caller
/// that wants all or nothing names a temporary file and renames. `progress` gets the bytes of the
/// virtual disk done since its last call, holes among them; they add up to its size.
pub fn export(
    source: &dyn DiskSource,
    format: ExportFormat,
    path: &Utf8Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let out = OutFile::create(path)?;
    let progress = &mut Progress { done: 0, size: source.virtual_size(), tell: progress };
    match format {
        ExportFormat::Raw => raw::write(source, &out, source.virtual_size(), progress),
        ExportFormat::Qcow2 => qcow2::write(source, &out, options, progress),
        ExportFormat::Vmdk => vmdk::write(source, &out, options, progress),
        ExportFormat::Vhd => vhd::write(source, &out, options, progress),
        ExportFormat::Vhdx => vhdx::write(source, &out, options, progress),
    }
    .map_err(|e| e.in_file(path))?;
    progress.finish();
    out.sync()
}

/// Turns positions on the virtual disk into steps for the caller.
struct Progress<'a> {
    done: u64,
    size: u64,
    tell: &'a mut dyn FnMut(u64),
}

impl Progress<'_> {
    /// All before `position` is done.
    fn reach(&mut self, position: u64) {
        let position = position.min(self.size);
        if position > self.done {
            (self.tell)(position - self.done);
            self.done = position;
        }
    }

    fn finish(&mut self) {
        self.reach(self.size);
    }
}

/// Reads `extents` in pieces that stay within `unit`-sized blocks, and hands each over.
fn each_piece(
    source: &dyn DiskSource,
    extents: &[Extent],
    unit: u64,
    progress: &mut Progress<'_>,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; to_usize(unit)];
    for piece in pieces(extents, unit) {
        let bytes = &mut buffer[..to_usize(piece.len)];
        source.read_at(piece.offset, bytes)?;
        take(piece.offset, bytes)?;
        progress.reach(piece.end());
    }
    Ok(())
}

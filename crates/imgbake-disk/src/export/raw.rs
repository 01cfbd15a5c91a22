//! Raw and sparse: zero blocks of 4 KiB are never written.

use super::progress::{Progress, each_piece};
use crate::{DiskSource, Result, bytes::to_u64, file::OutFile, zero::zero_runs};

/// Writes the disk's bytes at their own offsets, into a file of `len` bytes.
pub(super) fn write(
    source: &dyn DiskSource,
    out: &OutFile,
    len: u64,
    progress: &mut Progress<'_>,
) -> Result<()> {
    out.set_len(len)?;
    each_piece(source, &source.extents()?, 1 << 20, progress, |offset, bytes| {
        zero_runs(bytes).try_for_each(|run| out.write(offset + to_u64(run.start), &bytes[run]))
    })
}

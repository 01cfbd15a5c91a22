//! Reading the disk in pieces, and how far that is.

use crate::{DiskSource, Extent, Result, bytes::to_usize, source::pieces};

/// Turns positions on the virtual disk into steps for the caller.
pub(super) struct Progress<'a> {
    done: u64,
    size: u64,
    report: &'a mut dyn FnMut(u64),
}

impl<'a> Progress<'a> {
    /// Reports to `report` on a disk of `size` bytes.
    pub(super) fn new(size: u64, report: &'a mut dyn FnMut(u64)) -> Self {
        Self { done: 0, size, report }
    }

    /// All before `position` is done.
    pub(super) fn reach(&mut self, position: u64) {
        let position = position.min(self.size);
        if position > self.done {
            (self.report)(position - self.done);
            self.done = position;
        }
    }

    /// All of the disk is done.
    pub(super) fn finish(&mut self) {
        self.reach(self.size);
    }
}

/// Reads `extents` in pieces that stay within `unit`-sized blocks, and hands each over.
pub(super) fn each_piece(
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

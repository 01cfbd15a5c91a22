//! Pieces of a disk, in buffers that are used again.

use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use imgbake_disk::zero::zero_runs;
use imgbake_disk::{DiskSource, Extent};

use crate::BuildError;
use crate::error::disk_error;

/// Buffers that wait to be used again: few, since each may be as large as the largest piece.
const SPARE: usize = 16;

/// Bytes of the disk.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Where the buffer goes when nobody looks at the bytes any more.
    recycled: SyncSender<Vec<u8>>,
}

impl Piece {
    /// Whether nearly all of it is data: else chunks that wait would hold much more than their own bytes.
    pub(super) fn is_dense(&self) -> bool {
        let data: usize = zero_runs(&self.bytes).map(|run| run.len()).sum();
        data >= self.bytes.len() / 8 * 7
    }

    /// Where a range of the disk is in this piece, if all of it is.
    pub(super) fn place(&self, offset: u64, len: usize) -> Option<Range<usize>> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    /// Bytes of the piece.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let _ = self.recycled.try_send(std::mem::take(&mut self.bytes));
    }
}

/// Buffers that go round.
pub(super) struct Buffers {
    give: SyncSender<Vec<u8>>,
    back: Receiver<Vec<u8>>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        let (give, back) = sync_channel(SPARE);
        Self { give, back }
    }

    pub(super) fn read(&self, disk: &dyn DiskSource, piece: Extent) -> Result<Piece, BuildError> {
        let mut bytes = self.back.try_recv().unwrap_or_default();
        bytes.resize(usize::try_from(piece.len).unwrap_or_default(), 0);
        disk.read_at(piece.offset, &mut bytes).map_err(disk_error)?;
        Ok(Piece { offset: piece.offset, bytes, recycled: self.give.clone() })
    }
}

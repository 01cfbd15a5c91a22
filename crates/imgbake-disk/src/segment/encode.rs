//! Writing a segment.

use std::io::Write;

use zstd::stream::write::Encoder;

use super::{ALIGN, MAX_RECORD};
use crate::{
    DiskError, DiskSource, Extent, Result,
    bytes::{to_u64, to_usize},
    source::pieces,
    zero::zero_runs,
};

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentStats {
    /// Records written.
    pub records: u64,
    /// Bytes of the disk in them.
    pub data_bytes: u64,
}

/// Writes records into a zstd frame.
pub struct SegmentWriter<W: Write> {
    zstd: Encoder<'static, W>,
    virtual_size: u64,
    end: u64,
    stats: SegmentStats,
}

impl<W: Write> SegmentWriter<W> {
    /// A segment of a disk of `virtual_size` bytes, which is a multiple of [`ALIGN`].
    pub fn new(out: W, virtual_size: u64, level: i32) -> Result<Self> {
        if !virtual_size.is_multiple_of(ALIGN) {
            let why = format!("a segment of a disk of {virtual_size} bytes: not whole sectors");
            return Err(DiskError::unsupported(why));
        }
        let fail = |e| DiskError::io("cannot start a segment", e);
        let mut zstd = Encoder::new(out, level).map_err(fail)?;
        zstd.include_checksum(true).map_err(fail)?;
        Ok(Self { zstd, virtual_size, end: 0, stats: SegmentStats::default() })
    }

    /// Adds the disk's `bytes` at `offset`, which lies at or after the end of the record before.
    /// What is longer than [`MAX_RECORD`] becomes several records.
    pub fn record(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let len = to_u64(bytes.len());
        let end = offset.checked_add(len).filter(|end| *end <= self.virtual_size);
        let aligned = offset.is_multiple_of(ALIGN) && len.is_multiple_of(ALIGN);
        let (Some(end), true) = (end, aligned && offset >= self.end) else {
            let why =
                format!("a record of {len} bytes that is not aligned, in order and in bounds");
            return Err(DiskError::corrupt(why).at(offset));
        };
        let mut at = offset;
        for part in bytes.chunks(to_usize(MAX_RECORD)) {
            let len = to_u64(part.len());
            for bytes in [&at.to_le_bytes()[..], &len.to_le_bytes(), part] {
                self.zstd
                    .write_all(bytes)
                    .map_err(|e| DiskError::io("cannot write a segment", e).at(at))?;
            }
            at += len;
            self.stats.records += 1;
        }
        self.stats.data_bytes += len;
        self.end = end;
        Ok(())
    }

    /// Ends the frame; gives back what it was written to.
    pub fn finish(self) -> Result<(W, SegmentStats)> {
        let out = self.zstd.finish().map_err(|e| DiskError::io("cannot end a segment", e))?;
        Ok((out, self.stats))
    }
}

/// Writes the part of `source` that lies in `range` as one segment; zero blocks of 4 KiB are left
/// out. `range` starts and ends at multiples of 4 KiB, or at the disk's end.
pub fn encode<W: Write>(
    source: &dyn DiskSource,
    range: Extent,
    out: W,
    level: i32,
) -> Result<(W, SegmentStats)> {
    let mut writer = SegmentWriter::new(out, source.virtual_size(), level)?;
    let end = range.end().min(source.virtual_size());
    let block = to_u64(crate::zero::ZERO_BLOCK);
    // Extents are widened to whole blocks, so that the records are aligned.
    let mut inside: Vec<Extent> = Vec::new();
    for extent in source.extents()? {
        let from = (extent.offset / block * block).max(range.offset);
        let from = from.max(inside.last().map_or(0, Extent::end));
        let to = extent.end().next_multiple_of(block).min(end);
        if from < to {
            inside.push(Extent { offset: from, len: to - from });
        }
    }
    let mut buffer = vec![0; 1 << 20];
    for piece in pieces(&inside, 1 << 20) {
        let bytes = &mut buffer[..to_usize(piece.len)];
        source.read_at(piece.offset, bytes)?;
        for run in zero_runs(bytes) {
            writer.record(piece.offset + to_u64(run.start), &bytes[run])?;
        }
    }
    writer.finish()
}

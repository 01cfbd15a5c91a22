//! What must be read of a disk that differs from a known one in some places only.

use std::ops::Range;

use super::{Chunk, ChunkTable, PARAMS};
use crate::{bytes::to_u64, source::Extent, zero::ZERO_BLOCK};

/// A disk against the table of another one from which it differs at most in some extents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    windows: Vec<Extent>,
    kept: Vec<Range<usize>>,
}

impl Delta {
    /// A disk of `virtual_size` bytes that may differ from the disk of `table` in `changed`, in any
    /// order, and where one is longer than the other. What only the longer disk has is zero, unless
    /// `changed` names it.
    pub fn new(table: &ChunkTable, changed: &[Extent], virtual_size: u64) -> Self {
        let chunks = table.chunks();
        let mut changed = changed.to_vec();
        // A shorter disk ends within a chunk.
        changed.extend(
            chunks
                .iter()
                .rev()
                .take_while(|chunk| chunk.end() > virtual_size)
                .filter(|chunk| chunk.offset < virtual_size)
                .map(Chunk::extent),
        );
        changed.sort_unstable();
        let mut windows: Vec<Extent> = Vec::new();
        for extent in changed {
            let Some(window) = widen(chunks, extent, virtual_size) else { continue };
            match windows.last_mut() {
                Some(last) if window.offset <= last.end() => {
                    last.len = last.end().max(window.end()) - last.offset;
                }
                _ => windows.push(window),
            }
        }
        let kept = kept(chunks, &windows, virtual_size);
        Self { windows, kept }
    }

    /// The ranges to read and to cut again, each by itself; sorted and apart. Each covers whole chunks
    /// of the known disk.
    pub fn windows(&self) -> &[Extent] {
        &self.windows
    }

    /// The known chunks that are this disk's as well, by their numbers in the table: all outside the
    /// windows.
    pub fn kept(&self) -> impl Iterator<Item = usize> + '_ {
        self.kept.iter().cloned().flatten()
    }
}

/// The extent as whole blocks, and as whole chunks where there are some.
fn widen(chunks: &[Chunk], extent: Extent, virtual_size: u64) -> Option<Extent> {
    let block = to_u64(ZERO_BLOCK);
    let mut start = extent.offset / block * block;
    let mut end = extent.end().checked_next_multiple_of(block).unwrap_or(u64::MAX);
    let first = chunks.partition_point(|chunk| chunk.end() <= start);
    let mut next = chunks.partition_point(|chunk| chunk.offset < end);
    if first < next {
        start = start.min(chunks[first].offset);
        end = end.max(chunks[next - 1].end());
    }
    // A short chunk that follows is what an earlier window was forced to cut: it is joined again.
    while let Some(chunk) = chunks.get(next)
        && chunk.offset == end
        && chunk.len < PARAMS.min
    {
        end = chunk.end();
        next += 1;
    }
    end = end.min(virtual_size);
    (start < end && extent.len > 0).then(|| Extent { offset: start, len: end - start })
}

fn kept(chunks: &[Chunk], windows: &[Extent], virtual_size: u64) -> Vec<Range<usize>> {
    let whole = chunks.partition_point(|chunk| chunk.end() <= virtual_size);
    let mut kept = Vec::new();
    let mut from = 0;
    for window in windows {
        let to = chunks.partition_point(|chunk| chunk.end() <= window.offset).min(whole);
        if from < to {
            kept.push(from..to);
        }
        from = chunks.partition_point(|chunk| chunk.offset < window.end()).max(from);
    }
    if from < whole {
        kept.push(from..whole);
    }
    kept
}

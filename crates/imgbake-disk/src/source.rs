//! What can be read as a virtual disk, and the ranges of it that may hold data.

use crate::Result;

/// A virtual disk that can be read at any place, by many threads at once.
pub trait DiskSource: Send + Sync {
    /// The disk's size in bytes.
    fn virtual_size(&self) -> u64;

    /// The ranges that may hold data: sorted, apart from each other, inside the disk. All else
    /// reads as zeros.
    fn extents(&self) -> Result<Vec<Extent>>;

    /// Fills `buf` with the disk's bytes from `offset` on; zeros past its end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
}

/// A range of a virtual disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extent {
    /// Its first byte.
    pub offset: u64,
    /// Its length; never zero in what [`DiskSource::extents`] returns.
    pub len: u64,
}

impl Extent {
    /// The first byte after it.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// As many extents as are ever kept: 16 MiB of them.
const MAX_EXTENTS: usize = 1 << 20;

/// Collects sorted ranges, merges neighbours, and stays bounded: past [`MAX_EXTENTS`] it closes
/// the smallest gaps, which is correct since an extent only *may* hold data.
#[derive(Debug)]
pub(crate) struct ExtentList {
    list: Vec<Extent>,
    limit: u64,
    gap: u64,
    max: usize,
}

impl ExtentList {
    /// A list whose extents are cut at `limit`, the disk's size.
    pub(crate) fn new(limit: u64) -> Self {
        Self { list: Vec::new(), limit, gap: 0, max: MAX_EXTENTS }
    }

    /// Adds a range that starts at or after the start of the one added before.
    pub(crate) fn push(&mut self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.limit);
        if offset >= end {
            return;
        }
        match self.list.last_mut() {
            Some(last) if offset <= last.end().saturating_add(self.gap) => {
                last.len = end.max(last.end()) - last.offset;
            }
            _ => self.list.push(Extent { offset, len: end - offset }),
        }
        while self.list.len() > self.max {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.gap = (self.gap * 2).max(4096);
        let gap = self.gap;
        self.list.dedup_by(|next, kept| {
            let near = next.offset <= kept.end().saturating_add(gap);
            if near {
                kept.len = next.end().max(kept.end()) - kept.offset;
            }
            near
        });
    }

    pub(crate) fn finish(self) -> Vec<Extent> {
        self.list
    }
}

/// Cuts `extents` into pieces that never cross a multiple of `unit` bytes.
pub(crate) fn pieces(extents: &[Extent], unit: u64) -> impl Iterator<Item = Extent> + '_ {
    extents.iter().flat_map(move |extent| {
        let mut at = extent.offset;
        std::iter::from_fn(move || {
            let end = extent.end().min((at / unit + 1) * unit);
            let piece = Extent { offset: at, len: end.saturating_sub(at) };
            at = end;
            (piece.len > 0).then_some(piece)
        })
    })
}

/// The numbers of the `unit`-sized blocks that `extents` touch, each once, rising.
pub(crate) fn blocks(extents: &[Extent], unit: u64) -> impl Iterator<Item = u64> + '_ {
    let mut next = 0;
    extents.iter().flat_map(move |extent| {
        let first = (extent.offset / unit).max(next);
        let end = extent.end().div_ceil(unit).max(first);
        next = end;
        first..end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_merge_and_are_cut_at_the_end() {
        let mut list = ExtentList::new(100);
        for (offset, len) in [(0, 10), (10, 5), (20, 0), (30, 10), (35, 2), (90, 50), (200, 1)] {
            list.push(offset, len);
        }
        let list: Vec<_> = list.finish().iter().map(|e| (e.offset, e.len)).collect();
        assert_eq!(list, [(0, 15), (30, 10), (90, 10)]);
    }

    #[test]
    fn too_many_extents_close_gaps() {
        let mut list = ExtentList { max: 8, ..ExtentList::new(u64::MAX) };
        for block in 0..1000 {
            list.push(block * 8192, 4096);
        }
        let list = list.finish();
        assert!(list.len() <= 8);
        assert_eq!(list[0].offset, 0);
        assert_eq!(list.last().unwrap().end(), 999 * 8192 + 4096);
    }

    #[test]
    fn blocks_are_each_once() {
        let extents =
            [(0, 1), (5, 10), (14, 3), (40, 10)].map(|(offset, len)| Extent { offset, len });
        assert_eq!(blocks(&extents, 10).collect::<Vec<_>>(), [0, 1, 4]);
        let pieces: Vec<_> = pieces(&extents, 10).map(|p| (p.offset, p.len)).collect();
        assert_eq!(pieces, [(0, 1), (5, 5), (10, 5), (14, 3), (40, 10)]);
    }
}

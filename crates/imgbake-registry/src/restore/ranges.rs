//! Which ranges of packs hold some chunks, with what lies between them where that is cheaper.

use imgbake_disk::chunk::Chunk;

/// A range of a pack that is read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackRange {
    /// Which of the table's packs.
    pub(crate) pack: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// The chunks whose frames are in it: their numbers among those that were given.
    pub(crate) chunks: Vec<usize>,
}

impl PackRange {
    fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// The ranges that hold the frames of chunks. Frames with at most `gap` bytes between them are read as
/// one, but never more than `most` bytes, unless one frame is longer.
pub(crate) fn coalesce(chunks: &[Chunk], gap: u64, most: u64) -> Vec<PackRange> {
    let mut order: Vec<usize> = (0..chunks.len()).collect();
    order.sort_by_key(|number| (chunks[*number].frame.pack, chunks[*number].frame.offset));
    let mut ranges: Vec<PackRange> = Vec::new();
    for number in order {
        let frame = chunks[number].frame;
        let (offset, end) = (u64::from(frame.offset), frame.end());
        match ranges.last_mut() {
            Some(last)
                if last.pack == frame.pack
                    && offset <= last.end().saturating_add(gap)
                    && (end <= last.end() || end - last.offset <= most) =>
            {
                last.len = end.max(last.end()) - last.offset;
                last.chunks.push(number);
            }
            _ => ranges.push(PackRange {
                pack: frame.pack,
                offset,
                len: end - offset,
                chunks: vec![number],
            }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use imgbake_disk::chunk::{ChunkDigest, Frame};

    use super::*;

    #[test]
    fn near_frames_are_one_range() {
        let chunk = |pack, offset, len| Chunk {
            offset: 0,
            len: 1,
            digest: ChunkDigest([0; 32]),
            frame: Frame { pack, offset, len },
        };
        let chunks = [
            chunk(1, 500, 10),
            chunk(0, 100, 10),
            chunk(0, 0, 50),
            // The same frame again.
            chunk(0, 100, 10),
            chunk(0, 211, 5),
            chunk(1, 510, 90),
            chunk(1, 600, 1),
        ];
        let found: Vec<_> = coalesce(&chunks, 100, 100)
            .into_iter()
            .map(|range| (range.pack, range.offset, range.len, range.chunks))
            .collect();
        assert_eq!(
            found,
            [
                (0, 0, 50, vec![2]),
                (0, 100, 10, vec![1, 3]),
                (0, 211, 5, vec![4]),
                (1, 500, 100, vec![0, 5]),
                (1, 600, 1, vec![6]),
            ]
        );
        let lens =
            |gap, most| coalesce(&chunks, gap, most).iter().map(|r| r.len).collect::<Vec<_>>();
        assert_eq!(lens(100, 1000), [110, 5, 101]);
        assert_eq!(lens(101, 1000), [216, 101]);
        // One frame is read at once however long it is.
        assert_eq!(lens(0, 1), [50, 10, 5, 10, 90, 1]);
        assert_eq!(coalesce(&[], 1, 1), []);
    }
}

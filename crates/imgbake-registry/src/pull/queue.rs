//! Which pieces of the registry's packs are asked for, and by whom next.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use imgbake_disk::chunk::{Chunk, ChunkTable, PackRef};

use crate::restore::coalesce;

/// The widest gap between two frames that is read along, in bytes: about what a request costs on a
/// common way (5 ms at 25 MB/s).
const GAP: u64 = 128 << 10;
/// Of what is needed, the part that may be read along in gaps in all.
const SPARE: u64 = 32;
/// The longest piece that is asked for at once, so that several requests share a pack.
const MOST: u64 = 8 << 20;

/// A piece of a pack, and the chunks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) pack: PackRef,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Their numbers in the table, in the order of their frames.
    pub(super) chunks: Vec<usize>,
}

impl Piece {
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len
    }
}

/// The pieces that have the frames of chunks, in the order of packs.
pub(super) fn ranges(table: &ChunkTable, wanted: &[usize]) -> Vec<Piece> {
    let chunks: Vec<Chunk> = wanted.iter().map(|number| table.chunks()[*number]).collect();
    coalesce(&chunks, widest_gap(&chunks), MOST)
        .into_iter()
        .map(|range| Piece {
            pack: table.packs()[usize::try_from(range.pack).unwrap_or(usize::MAX)],
            offset: range.offset,
            len: range.len,
            chunks: range.chunks.into_iter().map(|at| wanted[at]).collect(),
        })
        .collect()
}

/// How wide gaps may be so that all of them are a small part of what is needed.
fn widest_gap(chunks: &[Chunk]) -> u64 {
    let needed: u64 = chunks.iter().map(|chunk| u64::from(chunk.frame.len)).sum();
    let mut frames: Vec<_> = chunks.iter().map(|chunk| chunk.frame).collect();
    frames.sort_unstable_by_key(|frame| (frame.pack, frame.offset));
    let mut gaps: Vec<u64> = frames
        .windows(2)
        .filter(|pair| pair[0].pack == pair[1].pack)
        .map(|pair| u64::from(pair[1].offset).saturating_sub(pair[0].end()))
        .filter(|gap| (1..=GAP).contains(gap))
        .collect();
    gaps.sort_unstable();
    let (mut widest, mut sum) = (0, 0);
    for same in gaps.chunk_by(|one, other| one == other) {
        sum += same.iter().sum::<u64>();
        if sum > needed / SPARE {
            break;
        }
        widest = same[0];
    }
    widest
}

/// The pieces that nobody has asked for.
pub(super) struct Queue(Mutex<VecDeque<Piece>>);

impl Queue {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        Self(Mutex::new(pieces.into()))
    }

    /// The next piece; `whole`: all that is wanted of a pack at once, as the pack.
    pub(super) fn next(&self, whole: bool) -> Option<Piece> {
        let mut pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut piece = pieces.pop_front()?;
        if whole {
            let others = pieces.iter().take_while(|more| more.pack == piece.pack).count();
            piece.chunks.extend(pieces.drain(..others).flat_map(|more| more.chunks));
            (piece.offset, piece.len) = (0, piece.pack.size);
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use imgbake_disk::chunk::{Frame, digest};

    use super::*;

    fn table(frames: &[(u32, u32, u32)]) -> ChunkTable {
        let chunks = frames.iter().enumerate().map(|(at, (pack, offset, len))| Chunk {
            offset: at as u64 * 4096,
            len: 4096,
            digest: digest(&at.to_le_bytes()),
            frame: Frame { pack: *pack, offset: *offset, len: *len },
        });
        let packs = [1, 2].map(|seed| PackRef { sha256: [seed; 32], size: 40 << 20 });
        ChunkTable::new(1 << 20, &packs, chunks.collect()).unwrap()
    }

    #[test]
    fn gaps_stay_a_small_part() {
        const K: u32 = 1 << 10;
        // 640 KiB are needed: 20 KiB of gaps may be read along.
        let frames: Vec<_> = [0, 70, 140, 215, 300, 365, 430, 494, 560, 900]
            .iter()
            .map(|at| (0, at * K, 64 * K))
            .chain([(1, 0, K)])
            .collect();
        let table = table(&frames);
        let all: Vec<usize> = (0..frames.len()).collect();
        let pieces = ranges(&table, &all);
        let moved: u64 = pieces.iter().map(|piece| piece.len).sum();
        let needed: u64 = frames.iter().map(|frame| u64::from(frame.2)).sum();
        assert!(moved > needed && moved <= needed + needed / SPARE, "{moved} of {needed}");
        assert_eq!(pieces.iter().map(|piece| piece.chunks.len()).sum::<usize>(), frames.len());
        assert!(ranges(&table, &[]).is_empty());
    }

    #[test]
    fn a_pack_is_taken_whole_where_pieces_are_none() {
        let far = 20 << 20;
        let table = table(&[(0, 0, 100), (0, far, 100), (1, 5, 100)]);
        let queue = Queue::new(ranges(&table, &[0, 1, 2]));
        let whole = queue.next(true).unwrap();
        assert_eq!((whole.range(), whole.chunks), (0..40 << 20, vec![0, 1]));
        assert_eq!(queue.next(false).unwrap().range(), 5..105);
        assert!(queue.next(true).is_none());
    }
}

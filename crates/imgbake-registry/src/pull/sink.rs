//! What is written of a disk, and what is wanted still.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use imgbake_disk::chunk::{Chunk, ChunkDigest, ChunkTable};

use crate::Result;
use crate::restore::{Done, Output, Parts};

/// The disk's chunks as its parts.
pub(super) struct Numbered<'a>(pub(super) &'a ChunkTable);

impl Parts for Numbered<'_> {
    fn virtual_size(&self) -> u64 {
        self.0.virtual_size()
    }

    fn end_of(&self, number: usize) -> Option<u64> {
        self.0.chunks().get(number).map(Chunk::end)
    }
}

/// Takes chunks, in any order and from several threads.
pub(super) struct Sink<'a> {
    table: &'a ChunkTable,
    output: &'a Output<'a>,
    /// The chunks' numbers in the order of their digests and lengths: equal ones stand together.
    order: Vec<usize>,
    filled: Vec<AtomicBool>,
    /// Hears of each chunk once.
    done: mpsc::Sender<Done>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        table: &'a ChunkTable,
        output: &'a Output<'a>,
        done: mpsc::Sender<Done>,
    ) -> Self {
        let chunks = table.chunks();
        let mut order: Vec<usize> = (0..chunks.len()).collect();
        order.sort_by_key(|number| (chunks[*number].digest, chunks[*number].len, *number));
        let filled = chunks.iter().map(|_| AtomicBool::new(false)).collect();
        Self { table, output, order, filled, done }
    }

    pub(super) fn table(&self) -> &'a ChunkTable {
        self.table
    }

    pub(super) fn output(&self) -> &'a Output<'a> {
        self.output
    }

    fn is_filled(&self, number: usize) -> bool {
        self.filled[number].load(Ordering::Relaxed)
    }

    /// A chunk is where it shall be.
    pub(super) fn fill(&self, number: usize) {
        if !self.filled[number].swap(true, Ordering::Relaxed) {
            // Nobody listens any more once the follower failed: its error is reported.
            let _ = self.done.send(Done { number });
        }
    }

    /// The places of a digest and length that are not filled.
    fn places(&self, digest: &ChunkDigest, len: usize) -> impl Iterator<Item = usize> + '_ {
        let chunks = self.table.chunks();
        let key = (*digest, u32::try_from(len).unwrap_or(u32::MAX));
        let of = move |number: &usize| (chunks[*number].digest, chunks[*number].len);
        let first = self.order.partition_point(|number| of(number) < key);
        self.order[first..]
            .iter()
            .copied()
            .take_while(move |number| of(number) == key)
            .filter(|number| !self.is_filled(*number))
    }

    /// Whether a chunk is wanted still.
    pub(super) fn wants(&self, digest: &ChunkDigest, len: usize) -> bool {
        self.places(digest, len).next().is_some()
    }

    /// Writes a chunk to all its places; the bytes are proved. Gives how many bytes that were.
    pub(super) fn put(&self, digest: &ChunkDigest, bytes: &[u8]) -> Result<u64> {
        let mut written = 0;
        for number in self.places(digest, bytes.len()).collect::<Vec<_>>() {
            self.output.write(&self.table.chunks()[number], bytes)?;
            self.fill(number);
            written += bytes.len() as u64;
        }
        Ok(written)
    }

    /// The chunks that are wanted still, each digest once: their numbers, in the disk's order.
    pub(super) fn wanted(&self) -> Vec<usize> {
        let chunks = self.table.chunks();
        let mut wanted: Vec<usize> =
            self.order.iter().copied().filter(|number| !self.is_filled(*number)).collect();
        let key = |number: usize| (chunks[number].digest, chunks[number].len);
        wanted.dedup_by(|one, other| key(*one) == key(*other));
        wanted.sort_unstable();
        wanted
    }
}

//! Chunks that are stored already.

use std::collections::HashMap;

use imgbake_disk::chunk::{Chunk, ChunkDigest, ChunkTable, Frame, PackRef};

/// The most chunks that are remembered, some 100 bytes each: 64 GiB of data. What is beyond is stored
/// once more.
const MOST: usize = 1 << 20;

/// A chunk, with its pack's number among those known and, after them, the new ones.
pub(super) type Row = Chunk;

/// What is stored already, by digest: a capture refers to it rather than store it again.
#[derive(Debug, Clone, Default)]
pub struct KnownChunks {
    packs: Vec<PackRef>,
    numbers: HashMap<[u8; 32], u32>,
    chunks: HashMap<ChunkDigest, Frame>,
}

impl KnownChunks {
    /// Adds what a table names, but for packs that are not `there` any more. Of a chunk that is stored
    /// twice, the one that was added first counts.
    pub fn add(&mut self, table: &ChunkTable, there: impl Fn(&PackRef) -> bool) {
        let numbers: Vec<Option<u32>> =
            table.packs().iter().map(|pack| there(pack).then(|| self.number(pack))).collect();
        for chunk in table.chunks() {
            if self.chunks.len() >= MOST {
                return;
            }
            let number = numbers.get(index(chunk.frame.pack)).copied().flatten();
            if let Some(pack) = number {
                self.chunks.entry(chunk.digest).or_insert(Frame { pack, ..chunk.frame });
            }
        }
    }

    /// A pack's number here.
    pub(super) fn number(&mut self, pack: &PackRef) -> u32 {
        *self.numbers.entry(pack.sha256).or_insert_with(|| {
            self.packs.push(*pack);
            u32::try_from(self.packs.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Every pack that was added, by number.
    pub(super) fn packs(&self) -> &[PackRef] {
        &self.packs
    }

    /// Where a chunk is stored.
    pub(super) fn find(&self, digest: &ChunkDigest) -> Option<Frame> {
        self.chunks.get(digest).copied()
    }
}

/// A number as an index.
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

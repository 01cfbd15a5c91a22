//! A disk as content-defined chunks: where it is cut, how a chunk is packed, and the table that says
//! which bytes of which pack are which bytes of the disk. The format is described in
//! `docs/reference/registry-format.md`.
//!
//! ```text
//! disk ──► Cutter ──► chunks ──► one zstd frame each ──► packs
//!                        └─────► ChunkTable
//! ```
//! What no chunk covers is zero. Offsets in a disk, lengths and places in a pack are in bytes.

mod cut;
mod delta;
mod frame;
mod number;
mod table;

#[cfg(test)]
mod tests;

pub use cut::Cutter;
pub use delta::Delta;
pub use frame::{ChunkDigest, FrameReader, FrameWriter, digest};
pub use table::{Chunk, ChunkTable, Frame, PackRef};

/// The largest pack that is written or read. One pack is one blob: big enough that a disk of 40 GiB is
/// a few hundred blobs, small enough to be sent again after a cut.
pub const MAX_PACK: u64 = 64 << 20;
/// The longest chunk table that is read, in bytes: 256 GiB of data in chunks of the average size.
pub const MAX_TABLE: u64 = 192 << 20;

/// zstd's level of the frames that are written: measured (`docs/decisions/0009-chunks.md`). Any level's
/// frames are read.
pub const LEVEL: i32 = 1;

/// The chunker's name in a version's config: FastCDC of 2020 (Xia et al., "The Design of Fast
/// Content-Defined Chunking for Data Deduplication Based Storage Systems"), normalization level 1, the
/// gear table and masks of the crate `fastcdc`, seed 0.
pub const CHUNKER: &str = "fastcdc-2020";

/// Where a [`Cutter`] may cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// The shortest chunk, unless data ends. Even.
    pub min: u32,
    /// What chunks are long on average. A power of two.
    pub average: u32,
    /// The longest chunk. Even.
    pub max: u32,
}

/// The parameters of every disk: measured (`docs/decisions/0009-chunks.md`). Readers need only
/// [`Params::max`]; writers that use others share no chunks with older versions.
pub const PARAMS: Params = Params { min: 16 << 10, average: 64 << 10, max: 256 << 10 };

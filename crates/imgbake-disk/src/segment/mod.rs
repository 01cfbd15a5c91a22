//! The registry's disk stream: a zstd frame whose plain content is records in rising order, each
//! `offset: u64 LE`, `length: u64 LE`, then the bytes. What no record covers is zero.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{SegmentStats, SegmentWriter, encode};

/// Offsets and lengths are multiples of this.
pub const ALIGN: u64 = 512;
/// The longest record.
pub const MAX_RECORD: u64 = 64 << 20;
const HEADER: usize = 16;
/// The largest zstd window that is written or read: 128 MiB, zstd's own default limit.
const WINDOW_LOG: u32 = 27;

#[cfg(test)]
mod tests;

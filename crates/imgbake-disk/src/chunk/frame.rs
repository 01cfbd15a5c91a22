//! One chunk as one zstd frame (RFC 8878), and its digest.

use std::fmt;
use std::io::{self, Cursor};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::PARAMS;
use crate::bytes::{to_u64, to_usize};
use crate::{DiskError, Result};

/// The BLAKE3 digest of a chunk's bytes, 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkDigest(pub [u8; 32]);

impl fmt::Display for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{self}")
    }
}

/// The digest of a chunk's bytes.
pub fn digest(bytes: &[u8]) -> ChunkDigest {
    ChunkDigest(*blake3::hash(bytes).as_bytes())
}

/// Makes frames. One a thread: its tables are used again.
pub struct FrameWriter(Compressor<'static>);

impl FrameWriter {
    /// A writer at one of zstd's levels.
    ///
    /// # Errors
    /// There is no such level.
    pub fn new(level: i32) -> Result<Self> {
        Compressor::new(level).map(Self).map_err(|e| DiskError::io("cannot start zstd", e))
    }

    /// A chunk as a frame. The same bytes give the same frame.
    ///
    /// # Errors
    /// Memory is short.
    pub fn frame(&mut self, chunk: &[u8]) -> Result<Vec<u8>> {
        let mut frame = Vec::new();
        self.append(chunk, &mut frame)?;
        Ok(frame)
    }

    /// Puts a chunk's frame behind others; gives its length.
    ///
    /// # Errors
    /// Memory is short.
    pub fn append(&mut self, chunk: &[u8], frames: &mut Vec<u8>) -> Result<usize> {
        let at = frames.len();
        frames.reserve(compress_bound(chunk.len()));
        let mut end = Cursor::new(frames);
        end.set_position(to_u64(at));
        let done = self.0.compress_to_buffer(chunk, &mut end);
        done.map_err(|e| DiskError::io("cannot pack a chunk", e))
    }
}

/// Reads frames that are not trusted. One a thread.
pub struct FrameReader {
    zstd: Decompressor<'static>,
    buffer: Vec<u8>,
}

impl FrameReader {
    /// A reader.
    ///
    /// # Errors
    /// Memory is short.
    pub fn new() -> Result<Self> {
        let zstd = Decompressor::new().map_err(|e| DiskError::io("cannot start zstd", e))?;
        Ok(Self { zstd, buffer: vec![0; to_usize(u64::from(PARAMS.max))] })
    }

    /// The chunk that a frame holds: exactly `len` bytes of the digest `expected`, or an error. No more
    /// than the longest chunk is ever written to memory, whatever the frame says of itself.
    ///
    /// # Errors
    /// The frame is not sound, or it holds other bytes.
    pub fn chunk(&mut self, frame: &[u8], len: u32, expected: &ChunkDigest) -> Result<&[u8]> {
        let len = to_usize(u64::from(len));
        let corrupt = |why: String| DiskError::corrupt(format!("a chunk {why}"));
        let Some(room) = self.buffer.get_mut(..len) else {
            return Err(corrupt(format!("of {len} bytes is longer than any can be")));
        };
        let wrote = self.zstd.decompress_to_buffer(frame, room).map_err(|e| unsound(&e, len))?;
        if wrote != len {
            return Err(corrupt(format!("of {len} bytes has only {wrote}")));
        }
        let found = digest(room);
        if found != *expected {
            return Err(corrupt(format!("has the digest {found}, not {expected}")));
        }
        Ok(room)
    }
}

fn unsound(error: &io::Error, len: usize) -> DiskError {
    DiskError::corrupt(format!("a chunk's frame is not the sound zstd of {len} bytes: {error}"))
}

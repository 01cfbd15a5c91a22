//! A version's disk.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A disk's digests and sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// SHA-256 of the whole virtual disk, holes as zeros. A version that was published by what it
    /// changed has none in its config: the first who restores all of it learns it.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// SHA-256 of its chunk table: the disk's identity.
    pub table: Digest,
    /// Its size in bytes.
    pub virtual_size: u64,
    /// Bytes that its blobs take in a registry: chunk table and packs, those that it shares with other
    /// versions among them.
    pub stored_bytes: u64,
    /// Bytes of it that chunks cover: all that are not zero, rounded to blocks.
    pub data_bytes: u64,
    /// How it was cut into chunks.
    pub chunker: Chunker,
}

/// How a disk was cut into chunks. Readers need none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunker {
    /// The method.
    pub name: String,
    /// The shortest chunk, unless data ends; in bytes.
    pub min: u32,
    /// The average.
    pub average: u32,
    /// The longest.
    pub max: u32,
}

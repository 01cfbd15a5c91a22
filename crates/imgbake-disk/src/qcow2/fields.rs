//! Writing a header.

use crate::bytes::put;

/// The fields of a version 3 header ("Header"); refcounts are 16 bits wide.
pub(crate) struct HeaderFields {
    pub(crate) cluster_bits: u32,
    pub(crate) size: u64,
    pub(crate) l1_entries: u64,
    pub(crate) l1_offset: u64,
    pub(crate) refcount_offset: u64,
    pub(crate) refcount_clusters: u32,
    pub(crate) zstd: bool,
}

impl HeaderFields {
    /// Writes the header at the start of `out`; returns where its extensions start.
    pub(crate) fn write(&self, out: &mut [u8]) -> usize {
        put(out, 0, &super::MAGIC);
        put(out, 4, &3_u32.to_be_bytes());
        put(out, 20, &self.cluster_bits.to_be_bytes());
        put(out, 24, &self.size.to_be_bytes());
        put(out, 36, &u32::try_from(self.l1_entries).unwrap_or(u32::MAX).to_be_bytes());
        put(out, 40, &self.l1_offset.to_be_bytes());
        put(out, 48, &self.refcount_offset.to_be_bytes());
        put(out, 56, &self.refcount_clusters.to_be_bytes());
        put(out, 72, &(u64::from(self.zstd) << 3).to_be_bytes());
        put(out, 96, &4_u32.to_be_bytes());
        put(out, 100, &112_u32.to_be_bytes());
        out[104] = u8::from(self.zstd);
        112
    }
}

//! How a disk is exported.

/// How to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Decides every identifier inside the file; the disk's digest is a good one.
    pub seed: String,
    /// zstd's level for qcow2.
    pub zstd_level: i32,
    /// Threads that compress; 0 for as many as the machine has (at most 8).
    pub threads: usize,
}

impl ExportOptions {
    /// The defaults, with identifiers from `seed`.
    pub fn new(seed: impl Into<String>) -> Self {
        Self { seed: seed.into(), zstd_level: 3, threads: 0 }
    }
}

//! One partition of a disk, as a range of bytes that nothing leaves.

use std::{fmt, sync::Arc};

use crate::{DiskError, DiskSource, Result, bytes::to_u64, gpt::Partition};

/// A range of a disk that holds a file system.
#[derive(Clone)]
pub struct Volume {
    source: Arc<dyn DiskSource>,
    offset: u64,
    len: u64,
}

impl Volume {
    /// A partition of a disk.
    pub fn partition(source: Arc<dyn DiskSource>, partition: &Partition) -> Self {
        Self { source, offset: partition.offset(), len: partition.len() }
    }

    /// A whole disk, without a partition table.
    pub fn whole(source: Arc<dyn DiskSource>) -> Self {
        let len = source.virtual_size();
        Self { source, offset: 0, len }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` from byte `at` on.
    ///
    /// # Errors
    /// `Corrupt`: that would pass the end. What the disk's reader fails with.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let end = at.checked_add(to_u64(buffer.len()));
        if end.is_none_or(|end| end > self.len) {
            let why = format!("{} bytes past the partition's end", buffer.len());
            return Err(DiskError::corrupt(why).at(self.offset.saturating_add(at)));
        }
        self.source.read_at(self.offset + at, buffer)
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

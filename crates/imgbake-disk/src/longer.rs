//! A disk that is longer than what it is made of.

use crate::{DiskSource, Extent, Result};

/// A disk with zeros after its end.
pub struct Longer<'d> {
    disk: &'d dyn DiskSource,
    virtual_size: u64,
}

impl std::fmt::Debug for Longer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Longer").field("virtual_size", &self.virtual_size).finish_non_exhaustive()
    }
}

impl<'d> Longer<'d> {
    /// A disk of `virtual_size` bytes that begins with `disk`; of a longer one there is no less.
    pub fn new(disk: &'d dyn DiskSource, virtual_size: u64) -> Self {
        Self { disk, virtual_size: virtual_size.max(disk.virtual_size()) }
    }
}

impl DiskSource for Longer<'_> {
    fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    fn extents(&self) -> Result<Vec<Extent>> {
        self.disk.extents()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.disk.read_at(offset, buf)
    }
}

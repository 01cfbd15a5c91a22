//! Where the bytes of packs come from.

use std::io;
use std::os::unix::fs::FileExt;

use imgbake_build::BuildError;
use imgbake_disk::chunk::PackRef;
use imgbake_types::Digest;

use crate::Result;
use crate::blobs::{broken, missing};
use crate::files::io_at;
use crate::store::Store;

/// Gives ranges of packs, to several threads at once. What it gives is proved by whoever asked.
pub(crate) trait PackSource: Sync {
    /// Bytes between two ranges that are read along rather than asked for apart.
    fn gap(&self) -> u64;

    /// Fills a buffer with a pack's bytes from `offset` on; they are inside the pack.
    fn read(&self, pack: &PackRef, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// The error for a pack whose bytes are not what the chunk table says.
    fn broken(&self, pack: &PackRef, why: &str) -> BuildError;
}

/// The packs in a layout.
pub(crate) struct LocalPacks<'a> {
    store: &'a Store,
    /// What they are read for, for errors.
    label: &'a str,
}

impl<'a> LocalPacks<'a> {
    pub(crate) fn new(store: &'a Store, label: &'a str) -> Self {
        Self { store, label }
    }
}

impl PackSource for LocalPacks<'_> {
    fn gap(&self) -> u64 {
        16 << 10
    }

    fn read(&self, pack: &PackRef, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let digest = Digest::from_sha256(&pack.sha256);
        let path = self.store.blobs.path(&digest);
        let file = match imgbake_runtime::regular::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(missing(self.label, &digest, &path));
            }
            opened => opened.map_err(io_at("open", &path))?,
        };
        let size = file.metadata().map_err(io_at("read", &path))?.len();
        if size != pack.size {
            return Err(self.broken(pack, &format!("it has {size} bytes, not {}", pack.size)));
        }
        file.read_exact_at(buffer, offset).map_err(io_at("read", &path))
    }

    fn broken(&self, pack: &PackRef, why: &str) -> BuildError {
        let digest = Digest::from_sha256(&pack.sha256);
        broken(self.label, &digest, &self.store.blobs.path(&digest), why)
    }
}

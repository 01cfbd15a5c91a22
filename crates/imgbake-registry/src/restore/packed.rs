//! A disk as it is stored: what its manifest says, checked against its chunk table.

use imgbake_build::BuildError;
use imgbake_disk::chunk::{ChunkTable, MAX_TABLE};
use imgbake_types::Digest;
use imgbake_types::record::DiskRecord;

use crate::Result;
use crate::files::damaged;
use crate::index::Index;
use crate::oci::{Descriptor, PACK, TABLE};
use crate::store::Store;
use crate::version::{chunked, read_config};

/// A disk as it is stored.
#[derive(Debug)]
pub(crate) struct Packed {
    /// What it is the disk of, for errors.
    pub(crate) label: String,
    pub(crate) disk: DiskRecord,
    /// Its chunk table, and the table's packs in their order.
    pub(crate) layers: Vec<Descriptor>,
}

impl Packed {
    /// A version's disk.
    pub(crate) fn of_version(store: &Store, label: String, version: &Index) -> Result<Self> {
        let manifest = chunked(store, version, &label)?;
        let config = read_config(&store.blobs.read(&manifest.config, &label)?, &label)?;
        Ok(Self { label, disk: config.disk, layers: manifest.layers })
    }

    /// Reads the chunk table.
    pub(crate) fn table(&self, store: &Store) -> Result<ChunkTable> {
        let bytes = store.blobs.read_bounded(self.table_blob()?, MAX_TABLE, &self.label)?;
        self.check(&bytes)
    }

    /// The chunk table's blob: its size is one that is read.
    pub(crate) fn table_blob(&self) -> Result<&Descriptor> {
        let first = self.check_types()?;
        if first.size > MAX_TABLE {
            let words = format!("has a chunk table of {} bytes: {MAX_TABLE} are read", first.size);
            return Err(self.refuse(&words));
        }
        Ok(first)
    }

    /// Reads the chunk table's bytes, which are the blob's, and checks that manifest and config say the
    /// same.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<ChunkTable> {
        let first = self.check_types()?;
        let table = ChunkTable::decode(bytes).map_err(|error| {
            damaged(format!("the chunk table {} of {} cannot be", first.digest, self.label))
                .because(error)
        })?;
        if first.digest != self.disk.table {
            return Err(self.refuse("has another chunk table than its config says"));
        }
        if table.virtual_size() != self.disk.virtual_size {
            return Err(self.refuse("has a disk of another size than its config says"));
        }
        let named = table.packs().iter().map(|pack| (Digest::from_sha256(&pack.sha256), pack.size));
        let listed = self.layers[1..].iter().map(|layer| (layer.digest.clone(), layer.size));
        if !named.eq(listed) {
            return Err(self.refuse("lists other packs than its chunk table names"));
        }
        Ok(table)
    }

    /// The table's descriptor, where all layers are of the types that are known.
    fn check_types(&self) -> Result<&Descriptor> {
        let Some((first, packs)) = self.layers.split_first() else {
            return Err(self.refuse("has no chunk table"));
        };
        let types = std::iter::once((first, TABLE)).chain(packs.iter().map(|pack| (pack, PACK)));
        for (layer, expected) in types {
            if layer.media_type != expected {
                let words = format!("has a layer of the type {}", layer.media_type);
                return Err(self.refuse(&format!("{words}: imgbake cannot unpack it")));
            }
        }
        Ok(first)
    }

    fn refuse(&self, words: &str) -> BuildError {
        damaged(format!("{} {words}", self.label))
            .help("it was made by a newer imgbake, or by another tool")
    }
}

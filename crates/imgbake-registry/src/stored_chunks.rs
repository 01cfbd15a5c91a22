//! Chunks that are stored already, by versions' chunk tables.

use imgbake_build::KnownChunks;
use imgbake_disk::chunk::ChunkTable;
use imgbake_types::Digest;

use crate::Result;
use crate::index::Index;
use crate::restore::Packed;
use crate::store::Store;
use crate::version::{by_digest, is_version, of_name};

/// How many of an image's newest versions a new one may refer to.
const NEWEST: usize = 3;

/// The chunks of a parent and of an image's newest versions, so far as their packs are there.
pub(crate) fn known(store: &Store, name: &str, parent: Option<&Digest>) -> Result<KnownChunks> {
    let index = store.index()?;
    let mut digests: Vec<Digest> = parent.into_iter().cloned().collect();
    let newest = of_name(&index, name).rev().filter(|entry| {
        // One that cannot be read is left out, here and below: it is reported where it is asked for.
        is_version(store, *entry).unwrap_or(false)
    });
    digests.extend(newest.take(NEWEST).map(|entry| entry.descriptor.digest.clone()));
    let mut known = KnownChunks::default();
    for digest in digests {
        match read(store, &index, &digest) {
            Ok(table) => known
                .add(&table, |pack| store.blobs.has(&Digest::from_sha256(&pack.sha256), pack.size)),
            Err(error) => tracing::warn!(%error, "a version's chunks are not used again"),
        }
    }
    Ok(known)
}

/// A version's chunk table.
pub(crate) fn table(store: &Store, digest: &Digest) -> Result<ChunkTable> {
    read(store, &store.index()?, digest)
}

fn read(store: &Store, index: &Index, digest: &Digest) -> Result<ChunkTable> {
    let (label, version) = by_digest(store, index, digest)?;
    Packed::of_version(store, label, &version)?.table(store)
}

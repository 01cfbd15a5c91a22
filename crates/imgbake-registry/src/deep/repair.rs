//! Whole blobs from other stores.

use std::fs::File;
use std::io::{Seek, Write};

use camino::Utf8Path;
use futures::StreamExt;
use tokio::runtime::Handle;

use super::check::digest_of;
use super::report::Damage;
use crate::Result;
use crate::blob::Blob;
use crate::files::{self, io_at, sync_dir};
use crate::oci::Descriptor;
use crate::problem::with_causes;
use crate::read_blobs::ReadBlobs;
use crate::store::Store;

/// What a blob's new bytes are called in errors before they have its name.
pub(super) const COPY: &str = "the copy of a blob";

/// Puts a blob back from the first source that has it whole, and says which that was; or what keeps
/// sources from helping.
pub(super) fn repair(
    store: &Store,
    descriptor: &Descriptor,
    sources: &[Box<dyn ReadBlobs>],
    damage: &mut Damage,
) -> Result<()> {
    for source in sources {
        let mut file = scratch(store)?;
        match fetch(&**source, &Blob::of(descriptor), &mut file) {
            Err(error) => damage.also(&with_causes(&error)),
            Ok(true) if install(store, descriptor, &mut file)? => {
                damage.repaired_from = Some(source.label());
                return Ok(());
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Writes a blob's bytes from a source; `false` where it has none of that digest. Waits for the network:
/// not on a thread that runs tasks.
fn fetch(source: &dyn ReadBlobs, blob: &Blob, into: &mut File) -> Result<bool> {
    Handle::current().block_on(async {
        if !source.has_blob(blob).await? {
            return Ok(false);
        }
        let mut stream = source.read_blob(&source.label(), blob, 0..blob.size);
        while let Some(bytes) = stream.next().await {
            into.write_all(&bytes?).map_err(io_at("write", Utf8Path::new(COPY)))?;
        }
        Ok(true)
    })
}

/// A file for bytes that are not proved yet. It has no name: it goes with whoever has it.
pub(super) fn scratch(store: &Store) -> Result<File> {
    store.ensure_folders()?;
    let folder = store.scratch();
    tempfile::tempfile_in(&folder).map_err(io_at("make a file in", &folder))
}

/// Gives a file's bytes a blob's name, if they are the blob's. They get their name under the lock, since
/// whoever has that sweeps away what has none yet.
pub(super) fn install(store: &Store, blob: &Descriptor, file: &mut File) -> Result<bool> {
    let copy = Utf8Path::new(COPY);
    file.rewind().map_err(io_at("read", copy))?;
    let found = digest_of(file, |_| Ok(()))?.map_err(io_at("read", copy))?;
    if found != (blob.size, blob.digest.clone()) {
        return Ok(false);
    }
    file.rewind().map_err(io_at("read", copy))?;
    let _lock = store.lock()?;
    files::copy(&store.scratch(), file, &store.blobs.path(&blob.digest))?;
    sync_dir(&store.blobs.folder())?;
    Ok(true)
}

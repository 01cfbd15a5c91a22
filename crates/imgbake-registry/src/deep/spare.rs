//! Whole blobs from other places.

use std::fs::File;
use std::io::{self, Seek, Write};

use camino::Utf8Path;
use futures::StreamExt;
use imgbake_types::Digest;
use tokio::runtime::Handle;

use super::Damage;
use super::check::digest_of;
use crate::files::{self, io_at, sync_dir};
use crate::layout::Layout;
use crate::oci::Descriptor;
use crate::store::Store;
use crate::{Repository, Result};

/// What a blob's new bytes are called in errors before they have its name.
pub(super) const COPY: &str = "the copy of a blob";

/// Another place that may have a blob.
pub trait Spare: Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// Writes a blob's bytes; `false` where it has none of that digest. The bytes are proved by the
    /// caller.
    ///
    /// # Errors
    /// The place cannot be read.
    fn copy(&self, digest: &Digest, size: u64, into: &mut dyn Write) -> Result<bool>;
}

impl Spare for Layout {
    fn name(&self) -> String {
        self.root().to_string()
    }

    fn copy(&self, digest: &Digest, _size: u64, into: &mut dyn Write) -> Result<bool> {
        let path = self.store().blobs.path(digest);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io_at("open", &path))?,
        };
        io::copy(&mut file, into).map_err(io_at("read", &path))?;
        Ok(true)
    }
}

impl Spare for Repository {
    fn name(&self) -> String {
        self.label()
    }

    /// Waits for the network: not on a thread that runs tasks.
    fn copy(&self, digest: &Digest, size: u64, into: &mut dyn Write) -> Result<bool> {
        Handle::current().block_on(async {
            if !self.has_blob(digest).await? {
                return Ok(false);
            }
            let mut stream = self.blob(digest, size, 0..size);
            while let Some(bytes) = stream.next().await {
                into.write_all(&bytes?).map_err(io_at("write", Utf8Path::new(COPY)))?;
            }
            Ok(true)
        })
    }
}

/// Puts a blob back from the first place that has it whole, and says which that was; or what keeps places
/// from helping.
pub(super) fn repair(
    store: &Store,
    descriptor: &Descriptor,
    spares: &[Box<dyn Spare>],
    damage: &mut Damage,
) -> Result<()> {
    for spare in spares {
        let mut file = scratch(store)?;
        match spare.copy(&descriptor.digest, descriptor.size, &mut file) {
            Err(error) => damage.also(&words(&error)),
            Ok(true) if install(store, descriptor, &mut file)? => {
                damage.repaired_from = Some(spare.name());
                return Ok(());
            }
            Ok(_) => {}
        }
    }
    Ok(())
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

/// An error with its causes.
pub(super) fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string())
        .chain(causes.map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(": ")
}

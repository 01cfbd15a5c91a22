//! Leases: while somebody reads a version's blobs, `gc` takes none of them.
//!
//! A lease is a file `leases/<hex of the version's digest>.<unique>` that its holder has locked
//! (flock(2)). One that nobody has locked was left by a killed process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Duration;

use camino::{Utf8DirEntry, Utf8PathBuf};
use imgbake_types::Digest;

use crate::Result;
use crate::files::{damaged, io_at, remove};
use crate::store::Store;

/// What a lease is called between its making and its lock.
const NEW: &str = ".new-";
/// One that was made longer ago, and is still called that, was left by a killed process.
const MAKING: Duration = Duration::from_secs(60);

/// Keeps a version's blobs until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    path: Utf8PathBuf,
    /// The lock lives as long as its open file.
    _file: File,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes a lease on a version. It must be taken before the index is read: then either `gc` sees the
/// lease, or the reader sees that the version is gone. `None` where the registry cannot be written to:
/// then nothing can be collected there either.
pub(crate) fn take(store: &Store, digest: &Digest) -> Result<Option<Lease>> {
    let folder = store.leases();
    if fs::create_dir_all(&folder).is_err() {
        return Ok(None);
    }
    let named = tempfile::Builder::new().prefix(NEW).tempfile_in(&folder);
    let Ok(named) = named else { return Ok(None) };
    named.as_file().lock().map_err(io_at("lock a lease in", &folder))?;
    // The name comes last: a lease that has one is locked, or its holder is dead.
    let unique = named.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let path = folder.join(format!("{}{}", digest.hex(), unique.replace(NEW, ".")));
    let file = named.persist(&path).map_err(|error| io_at("name the lease", &path)(error.error))?;
    Ok(Some(Lease { path, _file: file }))
}

/// Versions that somebody holds a lease on now. What dead processes left is removed.
pub(crate) fn held(store: &Store) -> Result<BTreeSet<Digest>> {
    let folder = store.leases();
    let mut held = BTreeSet::new();
    let Ok(entries) = folder.read_dir_utf8() else { return Ok(held) };
    for entry in entries {
        let entry = entry.map_err(io_at("read the folder", &folder))?;
        let path = entry.path();
        if entry.file_name().starts_with(NEW) && is_fresh(&entry) {
            continue;
        }
        let Ok(file) = imgbake_runtime::regular::open(path) else { continue };
        match file.try_lock() {
            Ok(()) => remove(path)?,
            Err(fs::TryLockError::WouldBlock) => held.extend(digest_of(entry.file_name())),
            Err(fs::TryLockError::Error(error)) => {
                return Err(
                    damaged(format!("cannot find out whether {path} is held")).because(error)
                );
            }
        }
    }
    Ok(held)
}

/// Whether its maker may be about to lock it.
fn is_fresh(entry: &Utf8DirEntry) -> bool {
    let made = entry.metadata().and_then(|metadata| metadata.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < MAKING))
}

/// The version that a lease's name shows.
fn digest_of(name: &str) -> Option<Digest> {
    let (hex, _) = name.split_once('.')?;
    format!("sha256:{hex}").parse().ok()
}

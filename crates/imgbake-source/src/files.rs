//! Files of the cache: locked by name, replaced whole, durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;

use camino::Utf8Path;
use imgbake_runtime::error::io_at;
use imgbake_runtime::journal::sync_dir;
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{RuntimeError, StageGuard};
use serde::{Serialize, de::DeserializeOwned};

/// Makes a folder, private to the user, with those above it.
pub(crate) fn make_dir(path: &Utf8Path) -> Result<(), RuntimeError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_at("make the folder", path))
}

/// A lock that goes with this value, or with the process.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "kept open, not read: the lock is the open file's")] File,
);

/// Takes the lock `locks/NAME` in a folder; while another has it, the stage shows `waiting`.
pub(crate) async fn lock(
    dir: &Utf8Path,
    name: &str,
    cancel: &imgbake_runtime::Cancel,
    stage: &StageGuard,
    waiting: &str,
) -> Result<Lock, RuntimeError> {
    let locks = dir.join("locks");
    make_dir(&locks)?;
    let path = locks.join(name);
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(io_at("make the lock", &path))?;
    let mut backoff = Backoff::default();
    let mut reported = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                if !reported {
                    stage.status(waiting);
                    reported = true;
                }
                cancel.run(backoff.wait()).await?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(RuntimeError::io("lock", &path, error));
            }
        }
    }
}

/// Reads a JSON file; one that is missing or that does not read is none: it is only a cache.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Utf8Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a JSON file whole: a reader sees the old one or the new one. The caller has a lock, so
/// that no other writes beside it.
pub(crate) fn write_json<T: Serialize>(path: &Utf8Path, value: &T) -> Result<(), RuntimeError> {
    let new = path.with_extension("new");
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write().map_err(io_at("write", path))?;
    rename(&new, path)
}

/// Moves a finished file to its name, durably.
pub(crate) fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), RuntimeError> {
    fs::rename(from, to).map_err(io_at("make", to))?;
    to.parent().map_or(Ok(()), sync_dir)
}

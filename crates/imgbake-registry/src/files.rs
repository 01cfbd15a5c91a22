//! Files that are durable when a call returns, and reads that are bounded.

use std::fs::{self, File};
use std::io::{self, Read, Write};

use camino::Utf8Path;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::{RuntimeError, regular, space};
use serde::de::DeserializeOwned;

use crate::Result;

/// The largest JSON document that is read or written, in bytes.
pub(crate) const MAX_JSON: u64 = 8 << 20;
/// The same for the layout's own lists, of names and of blobs: 10,000 versions with their records have
/// an `index.json` of 6 MiB.
pub(crate) const MAX_LIST: u64 = 64 << 20;

/// For `map_err`: names the operation and the path; a full file system is distinguished.
pub(crate) fn io_at<'a>(
    operation: &'a str,
    path: &'a Utf8Path,
) -> impl FnOnce(io::Error) -> BuildError + 'a {
    move |error| match error.kind() {
        io::ErrorKind::QuotaExceeded => space::full(path, None).into(),
        _ => RuntimeError::io(operation, path, error).into(),
    }
}

/// Reads a whole file of at most [`MAX_JSON`] bytes; `None` where there is none.
pub(crate) fn read_small(path: &Utf8Path) -> Result<Option<Vec<u8>>> {
    read_bounded(path, MAX_JSON)
}

/// Reads a whole file of at most `most` bytes; `None` where there is none.
pub(crate) fn read_bounded(path: &Utf8Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match regular::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_at("open", path))?,
    };
    // With room for all of it from the start it is read at once, not piece by piece.
    let size = file.metadata().map_err(io_at("read", path))?.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(most + 1).read_to_end(&mut bytes).map_err(io_at("read", path))?;
    if bytes.len() as u64 > most {
        return Err(damaged(format!("{path} is longer than {} MiB", most >> 20)));
    }
    Ok(Some(bytes))
}

/// Reads JSON; `what` names it in the error.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| damaged(format!("cannot read {what}")).because(error))
}

/// The error for what the registry's own rules say cannot be.
pub(crate) fn damaged(context: impl Into<String>) -> BuildError {
    BuildError::new(BuildErrorKind::Failed, context)
}

/// Writes a file under a temporary name in `scratch`, which is on the same file system, makes it
/// durable and renames it. The folder's entry is durable only after [`sync_dir`].
pub(crate) fn write(scratch: &Utf8Path, path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    let mut file =
        tempfile::NamedTempFile::new_in(scratch).map_err(io_at("make a file in", scratch))?;
    file.write_all(bytes).map_err(io_at("write", path))?;
    persist(file, path)
}

/// Copies an open file in the same way.
pub(crate) fn copy(scratch: &Utf8Path, source: &mut File, path: &Utf8Path) -> Result<()> {
    let mut file =
        tempfile::NamedTempFile::new_in(scratch).map_err(io_at("make a file in", scratch))?;
    io::copy(source, file.as_file_mut()).map_err(io_at("copy to", path))?;
    persist(file, path)
}

fn persist(file: tempfile::NamedTempFile, path: &Utf8Path) -> Result<()> {
    file.as_file().sync_all().map_err(io_at("write", path))?;
    file.persist(path).map_err(|error| io_at("write", path)(error.error))?;
    Ok(())
}

/// Makes a folder's entries durable.
pub(crate) fn sync_dir(path: &Utf8Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_at("make durable", path))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Utf8Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(io_at("remove", path)),
    }
}

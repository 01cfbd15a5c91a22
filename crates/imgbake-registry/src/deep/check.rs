//! Whether a blob is what its name says.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use imgbake_types::Digest;
use sha2::{Digest as _, Sha256};

use super::watch::{Depth, Wanted, Watch};
use crate::Result;
use crate::files::{damaged, io_at};
use crate::oci::Descriptor;
use crate::store::Store;

/// Threads that read.
const READERS: usize = 2;

/// Reads each blob once; gives the places in `wanted` of those that are damaged, and why.
pub(super) fn all(
    store: &Store,
    wanted: &[Wanted],
    watch: &Watch<'_>,
) -> Result<Vec<(usize, String)>> {
    let total = wanted.iter().map(|wanted| wanted.descriptor.size).sum();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let found = Mutex::new(Vec::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(Wanted { descriptor, .. }) = wanted.get(at) else { return Ok(()) };
            let seen = |bytes| {
                let before = done.fetch_add(bytes, Ordering::Relaxed);
                (watch.progress)(before + bytes, total);
                watch.go_on()
            };
            let whole = watch.depth == Depth::Bytes || descriptor.media_type.ends_with("json");
            if let Some(why) = check(store, descriptor, whole, seen)? {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((at, why));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..READERS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(damaged("reading the registry again panicked")))
        })
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort();
    Ok(found)
}

/// What is wrong with a blob.
fn check(
    store: &Store,
    descriptor: &Descriptor,
    whole: bool,
    seen: impl Fn(u64) -> Result<()>,
) -> Result<Option<String>> {
    let path = store.blobs.path(&descriptor.digest);
    let mut file = match imgbake_runtime::regular::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some("it is missing".to_owned()));
        }
        opened => opened.map_err(io_at("open", &path))?,
    };
    let size = file.metadata().map_err(io_at("read", &path))?.len();
    if size != descriptor.size {
        return Ok(Some(format!("it has {size} bytes, not {}", descriptor.size)));
    }
    if !whole {
        return Ok(None);
    }
    match digest_of(&mut file, seen)? {
        Ok((_, digest)) if digest == descriptor.digest => Ok(None),
        Ok((_, digest)) => Ok(Some(format!("its bytes are {digest}"))),
        // A disk's bad sector is what this command is there to find.
        Err(error) => Ok(Some(format!("it cannot be read: {error}"))),
    }
}

/// A file's size and digest, from where it is based on; `seen` is given each count of bytes.
pub(super) fn digest_of(
    file: &mut File,
    seen: impl Fn(u64) -> Result<()>,
) -> Result<io::Result<(u64, Digest)>> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Ok((size, Digest::from_sha256(&sha256.finalize())))),
            Ok(count) => {
                sha256.update(&buffer[..count]);
                size += count as u64;
                seen(count as u64)?;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

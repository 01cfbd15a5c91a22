//! What is done with packs beside writing them: they are named by their digests, and sent to the disk.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::chunk::{MAX_PACK, PackRef};
use imgbake_runtime::RuntimeError;
use imgbake_types::Digest;
use sha2::{Digest as _, Sha256};

use super::threads::{panicked, stand_back};
use crate::{BlobFile, BuildError};

/// A pack that is written, under both of its names.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) reference: PackRef,
    pub(super) blob: BlobFile,
}

/// A thread that names packs by their digests. It reads them again, while the last part of the disk is
/// hashed: until then there is other work for each core.
#[derive(Debug)]
pub(super) struct Digester {
    queue: Sender<(Utf8PathBuf, u64)>,
    thread: JoinHandle<Result<Vec<Written>, BuildError>>,
}

impl Digester {
    pub(super) fn start() -> Self {
        let (queue, packs) = channel();
        let thread = thread::spawn(move || {
            stand_back();
            packs.iter().map(|(path, size)| name(path, size)).collect()
        });
        Self { queue, thread }
    }

    /// Takes a pack: all of it is written.
    pub(super) fn pack(&self, path: Utf8PathBuf, size: u64) {
        // A thread that is gone has failed, and says so itself.
        let _ = self.queue.send((path, size));
    }

    /// The packs, in the order in which they came.
    pub(super) fn finish(self) -> Result<Vec<Written>, BuildError> {
        drop(self.queue);
        self.thread.join().map_err(panicked)?
    }
}

fn name(path: Utf8PathBuf, size: u64) -> Result<Written, BuildError> {
    let mut sha256 = HashWriter(Sha256::new());
    let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut sha256));
    let read = read.map_err(|error| RuntimeError::io("read", &path, error))?;
    if read != size {
        let what = format!("{path} has {read} bytes, and {size} were written: was it changed?");
        return Err(BuildError::failed(what));
    }
    let sha256: [u8; 32] = sha256.0.finalize().into();
    Ok(Written {
        reference: PackRef { sha256, size },
        blob: BlobFile { path, digest: Digest::from_sha256(&sha256), size },
    })
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A thread that sends files to the disk.
#[derive(Debug)]
pub(super) struct Flusher {
    queue: SyncSender<(File, Utf8PathBuf)>,
    thread: JoinHandle<Result<(), BuildError>>,
}

impl Flusher {
    pub(super) fn start() -> Self {
        let (queue, files) = sync_channel::<(File, Utf8PathBuf)>(1);
        let thread = thread::spawn(move || {
            files.iter().try_for_each(|(file, path)| file.sync_data().map_err(written(&path)))
        });
        Self { queue, thread }
    }

    /// Sends a file's bytes to the disk soon; where the disk is slow, with those that come after.
    pub(super) fn flush(&self, file: File, path: &Utf8Path) {
        let _ = self.queue.try_send((file, path.to_owned()));
    }

    /// Waits for the thread. An error that it met is reported here alone: nobody else hears of it again
    /// (fsync(2)).
    pub(super) fn finish(self) -> Result<(), BuildError> {
        drop(self.queue);
        self.thread.join().map_err(panicked)?
    }
}

/// For `map_err`: the error of a full file system says what a pack needs.
pub(super) fn written(path: &Utf8Path) -> impl FnOnce(io::Error) -> BuildError + '_ {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            imgbake_runtime::space::full(path, Some(MAX_PACK)).into()
        }
        _ => RuntimeError::io("write", path, error).into(),
    }
}

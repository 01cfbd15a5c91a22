//! Blobs that are on their way into the layout: `IMGBAKE_HOME/cache/transfers`. What a cut copy left
//! there, the next one goes on with.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::Job;
use imgbake_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::files::{io_at, remove};

/// Whoever has it has the folder.
const LOCK: &str = ".lock";
/// What nobody went on with for so long is removed.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The folder of blobs that are not whole yet.
#[derive(Debug)]
pub(crate) struct Partials {
    dir: Utf8PathBuf,
    /// The lock lives as long as its open file.
    _lock: Option<File>,
}

/// A blob's file and what is known of the bytes in it.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) path: Utf8PathBuf,
    file: File,
    /// Bytes that are there.
    pub(crate) have: u64,
    hasher: Sha256,
}

impl Partials {
    /// Makes the folder, and removes what is stale in it. Where another copy has it, this one's is the
    /// job's own, and goes with the job.
    pub(crate) fn open(job: &Job) -> Result<Self> {
        let dir = job.home().cache().join("transfers");
        fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
        let path = dir.join(LOCK);
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = open.map_err(io_at("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {
                sweep(&dir)?;
                Ok(Self { dir, _lock: Some(lock) })
            }
            Err(TryLockError::WouldBlock) => {
                let dir = job.work().join("transfers");
                fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
                Ok(Self { dir, _lock: None })
            }
            Err(TryLockError::Error(error)) => Err(io_at("lock", &path)(error)),
        }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Where a blob is while it is not whole.
    pub(crate) fn path(&self, digest: &Digest) -> Utf8PathBuf {
        self.dir.join(digest.hex())
    }
}

impl Partial {
    /// Opens a blob's file and hashes what is in it.
    pub(crate) fn open(path: Utf8PathBuf, size: u64) -> Result<Self> {
        let mut private = File::options();
        private.create(true).truncate(false).read(true).write(true).mode(0o600);
        let file = private.open(&path).map_err(io_at("make", &path))?;
        let mut partial = Self { path, file, have: 0, hasher: Sha256::new() };
        partial.read(size)?;
        Ok(partial)
    }

    /// Hashes what is there; what is longer than the blob is none of it.
    fn read(&mut self, size: u64) -> Result<()> {
        let length = self.file.metadata().map_err(io_at("read", &self.path))?.len();
        if length > size {
            return self.restart();
        }
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = self.file.read(&mut buffer).map_err(io_at("read", &self.path))?;
            if read == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..read]);
            self.have += read as u64;
        }
    }

    /// Begins with nothing.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(io_at("write", &self.path))?;
        (self.have, self.hasher) = (0, Sha256::new());
        Ok(())
    }

    /// Adds bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io_at("write", &self.path))?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Makes the bytes durable; gives their digest.
    pub(crate) fn settle(&self) -> Result<Digest> {
        self.file.sync_all().map_err(io_at("write", &self.path))?;
        Ok(Digest::from_sha256(&self.hasher.clone().finalize()))
    }
}

fn sweep(dir: &Utf8Path) -> Result<()> {
    for entry in dir.read_dir_utf8().map_err(io_at("read the folder", dir))?.flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
        if entry.file_name() != LOCK && age.is_some_and(|age| age > STALE) {
            remove(entry.path())?;
        }
    }
    Ok(())
}

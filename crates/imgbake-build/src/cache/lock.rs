//! Locks among processes, and within one: flock(2) on files of `cache/locks`.
//!
//! A lock file is unlinked only by whoever holds it exclusively; who got a lock checks that its path
//! still names the file that was locked, and else begins again. A lock ends with its process, however
//! that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};

use super::error::{CacheError, io_at};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: Utf8PathBuf,
    exclusive: bool,
}

impl Lock {
    /// Takes the lock for oneself, unless anybody holds it. Its file goes when it is dropped.
    pub(super) fn try_exclusive(path: &Utf8Path) -> Result<Option<Self>, CacheError> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(io_at("lock", path)(error)),
            }
            if is_at(&file, path)? {
                return Ok(Some(Self { file, path: path.to_owned(), exclusive: true }));
            }
        }
    }

    /// Takes the lock beside others who share it. Waits for one who has it alone: these hold it for
    /// the moment of a removal.
    pub(super) fn shared(path: &Utf8Path) -> Result<Self, CacheError> {
        loop {
            let file = open(path)?;
            match file.lock_shared() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done.map_err(io_at("lock", path))?,
            }
            if is_at(&file, path)? {
                return Ok(Self { file, path: path.to_owned(), exclusive: false });
            }
        }
    }

    /// Whether anybody holds the lock now.
    pub(super) fn is_held(path: &Utf8Path) -> bool {
        let Ok(file) = imgbake_runtime::regular::open(path) else { return false };
        let held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let _ = file.unlock();
        held
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.exclusive {
            // One that stays is swept later.
            let _ = fs::remove_file(&self.path);
        }
        // Not by closing alone: a child that is just being started has a copy until it runs.
        let _ = self.file.unlock();
    }
}

fn open(path: &Utf8Path) -> Result<File, CacheError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(io_at("open", path))
}

fn is_at(file: &File, path: &Utf8Path) -> Result<bool, CacheError> {
    let here = file.metadata().map_err(io_at("look at", path))?;
    match fs::metadata(path) {
        Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_at("look at", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_many_who_share() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("a.use");
        assert!(!Lock::is_held(&path));
        let first = Lock::shared(&path).unwrap();
        let second = Lock::shared(&path).unwrap();
        assert!(Lock::is_held(&path));
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(second);
        let alone = Lock::try_exclusive(&path).unwrap().unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(alone);
        assert!(!path.exists(), "whoever holds it alone unlinks it");
    }

    #[test]
    fn who_waited_for_an_unlinked_file_locks_the_new_one() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("a.use");
        let alone = Lock::try_exclusive(&path).unwrap().unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Lock::shared(&path).unwrap()
        });
        drop(alone);
        let shared = waiting.join().unwrap();
        assert!(is_at(&shared.file, &path).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
    }
}

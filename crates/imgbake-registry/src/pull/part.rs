//! The file that a disk is written into before it has its name.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::chunk::ChunkTable;
use rustix::fs::{FallocateFlags, OFlags, SeekFrom, fallocate, seek};

use crate::Result;
use crate::files::{damaged, io_at};

/// Attempts to lock a file that others name, end and make anew.
const ATTEMPTS: usize = 16;

/// A file that is written in place, locked as long as this lives. What a cut pull left in it, the next
/// one uses.
#[derive(Debug)]
pub struct Part {
    path: Utf8PathBuf,
    file: File,
    new: bool,
}

impl Part {
    /// Opens the part at a path, or makes it; `None` where another process writes it now.
    ///
    /// # Errors
    /// It is no plain file, or cannot be written.
    pub fn open(path: &Utf8Path) -> Result<Option<Self>> {
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        for _ in 0..ATTEMPTS {
            let mut options = File::options();
            options.create(true).truncate(false).read(true).write(true).custom_flags(nofollow);
            let file = options.open(path).map_err(io_at("make", path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(io_at("lock", path)(error)),
            }
            let metadata = file.metadata().map_err(io_at("read", path))?;
            if !metadata.is_file() {
                return Err(damaged(format!("{path} is no plain file")).help("remove it"));
            }
            // Whoever had the lock before may have given the file its name meanwhile.
            let there = fs::symlink_metadata(path);
            if there
                .is_ok_and(|there| (there.dev(), there.ino()) == (metadata.dev(), metadata.ino()))
            {
                let new = metadata.len() == 0;
                return Ok(Some(Self { path: path.to_owned(), file, new }));
            }
        }
        Ok(None)
    }

    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether nothing was in it.
    pub(super) fn is_new(&self) -> bool {
        self.new
    }

    /// Makes all zero that no chunk covers, whatever is there. Gives how many bytes the file takes.
    pub(super) fn prepare(&self, table: &ChunkTable) -> Result<u64> {
        if self.new {
            return Ok(0);
        }
        let io = |error: rustix::io::Errno| io_at("write", &self.path)(error.into());
        self.file.set_len(table.virtual_size()).map_err(io_at("size", &self.path))?;
        let mut position = 0;
        let ends = std::iter::once((table.virtual_size(), table.virtual_size()));
        let chunks = table.chunks().iter().map(|chunk| (chunk.offset, chunk.end()));
        for (start, end) in chunks.chain(ends) {
            let data = seek(&self.file, SeekFrom::Data(position)).unwrap_or(table.virtual_size());
            if data < start {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                match fallocate(&self.file, flags, position, start - position) {
                    // A file system without holes: nothing of it is used.
                    Err(rustix::io::Errno::OPNOTSUPP) => {
                        self.file.set_len(0).map_err(io_at("size", &self.path))?;
                        return Ok(0);
                    }
                    done => done.map_err(io)?,
                }
            }
            position = end;
        }
        let metadata = self.file.metadata().map_err(io_at("read", &self.path))?;
        Ok(metadata.blocks() * 512)
    }
}

//! Host files with positional reads and writes whose errors name file, byte and purpose.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _},
};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{OFlags, SeekFrom};

use crate::{DiskError, Result, bytes::to_u64};

/// A file that is read; its length is that of the moment it was opened.
#[derive(Debug)]
pub(crate) struct HostFile {
    pub(crate) file: File,
    pub(crate) path: Utf8PathBuf,
    pub(crate) len: u64,
}

impl HostFile {
    /// Opens a regular file or a block device.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self> {
        let fail = |e: io::Error| DiskError::io("cannot open the disk", e).in_file(path);
        // The opening of a FIFO would wait for its writer.
        let flags =
            i32::try_from(OFlags::NONBLOCK.bits()).map_err(|e| fail(io::Error::other(e)))?;
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(fail)?;
        let kind = file.metadata().map_err(fail)?.file_type();
        if !kind.is_file() && !kind.is_block_device() && !kind.is_dir() {
            let other =
                io::Error::new(io::ErrorKind::InvalidInput, "it is no file and no block device");
            return Err(fail(other));
        }
        // Not the metadata's length: a block device has none there.
        let len = rustix::fs::seek(&file, SeekFrom::End(0)).map_err(|e| fail(e.into()))?;
        if kind.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self { file, path: path.to_owned(), len })
    }

    /// Reads exactly `buf`; the file's end before that is [`crate::DiskErrorKind::Truncated`].
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8], doing: &str) -> Result<()> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|e| DiskError::io(doing, e).in_file(&self.path).at(offset))
    }

    /// Reads `buf`, with zeros for what lies past the file's end.
    pub(crate) fn read_padded(&self, offset: u64, buf: &mut [u8], doing: &str) -> Result<()> {
        let there = self.len.saturating_sub(offset).min(to_u64(buf.len()));
        let (head, tail) = buf.split_at_mut(crate::bytes::to_usize(there));
        tail.fill(0);
        if head.is_empty() { Ok(()) } else { self.read(offset, head, doing) }
    }
}

/// A file that is written, at any position; what was not written is a hole.
#[derive(Debug)]
pub(crate) struct OutFile {
    pub(crate) file: File,
    pub(crate) path: Utf8PathBuf,
}

impl OutFile {
    /// Makes the file, or empties it.
    pub(crate) fn create(path: &Utf8Path) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|e| DiskError::io("cannot create the file", e).in_file(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens a file that exists, to write into it.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| DiskError::io("cannot open the file for writing", e).in_file(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| DiskError::io("cannot write", e).in_file(&self.path).at(offset))
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(|e| {
            DiskError::io("cannot set the file's length", e).in_file(&self.path).at(len)
        })
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(|e| DiskError::io("cannot sync", e).in_file(&self.path))
    }
}

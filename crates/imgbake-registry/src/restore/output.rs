//! The file that a disk is written into.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use camino::Utf8PathBuf;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::Chunk;
use imgbake_disk::{DiskError, DiskErrorKind};
use imgbake_runtime::space;
use imgbake_types::record::DiskRecord;

use crate::Result;
use crate::files::{damaged, io_at};

/// The file that a disk is written into.
pub(crate) struct Output<'a> {
    /// What it is the disk of, for errors.
    pub(crate) label: String,
    into: &'a File,
    /// The same file, for reading: `into` may be open for writing only.
    pub(crate) written: File,
    /// Where it is, for errors.
    pub(crate) path: Utf8PathBuf,
    data_bytes: u64,
    pub(crate) stop: &'a AtomicBool,
}

impl<'a> Output<'a> {
    /// Makes an empty file the disk's size.
    pub(super) fn prepare(
        into: &'a File,
        label: &str,
        disk: &DiskRecord,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let path = path_of(into);
        if into.metadata().map_err(io_at("read", &path))?.len() != 0 {
            return Err(damaged(format!(
                "{path} is not empty: a disk is unpacked into an empty file"
            )));
        }
        Self::over(into, label, disk, 0, stop)
    }

    /// Makes a file the disk's size, of whose bytes some may be there: so many are.
    pub(crate) fn over(
        into: &'a File,
        label: &str,
        disk: &DiskRecord,
        there: u64,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let path = path_of(into);
        space::require(&path, disk.data_bytes.saturating_sub(there))?;
        let written = File::open(link_of(into)).map_err(io_at("read", &path))?;
        into.set_len(disk.virtual_size).map_err(io_at("size", &path))?;
        let (label, data_bytes) = (label.to_owned(), disk.data_bytes);
        Ok(Self { label, into, written, path, data_bytes, stop })
    }

    /// Writes a chunk's bytes, which are proved.
    pub(crate) fn write(&self, chunk: &Chunk, bytes: &[u8]) -> Result<()> {
        self.into.write_all_at(bytes, chunk.offset).map_err(|error| {
            let error = DiskError::io(format!("writing {}", self.path), error);
            if error.kind() == DiskErrorKind::Full {
                return space::full(&self.path, Some(self.data_bytes)).into();
            }
            disk_error(error)
        })
    }
}

/// What one thread has written.
pub(crate) struct Done {
    /// Which part.
    pub(crate) number: usize,
}

/// What opens an open file once more (proc(5), `/proc/pid/fd`).
fn link_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The path of an open file, as far as the system shows it.
fn path_of(file: &File) -> Utf8PathBuf {
    let path = std::fs::read_link(link_of(file))
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    path.unwrap_or_else(|| Utf8PathBuf::from("the disk"))
}

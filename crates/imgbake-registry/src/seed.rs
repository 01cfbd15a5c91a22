//! Disks at hand: cut into chunks as versions' disks were.

use camino::Utf8Path;
use imgbake_build::BuildError;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{ChunkDigest, Cutter, digest};
use imgbake_disk::{DiskImage, DiskSource};

use crate::Result;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;

/// Why cutting a seed ended early.
pub(crate) enum Uncut {
    /// The seed cannot be read.
    Seed(BuildError),
    /// Whoever takes its chunks cannot go on.
    Taker(BuildError),
}

/// A disk that may have some of the bytes that are wanted: raw or qcow2, without a backing file.
pub(crate) struct SeedDisk(DiskImage);

impl SeedDisk {
    /// Opens one; nothing that its file says is believed.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self> {
        let opened = DiskImage::open_flat(path).map(Self);
        opened.map_err(|error| unreadable(path, disk_error(error)))
    }

    /// Reads the disk's bytes at some place; zeros past its end.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.0.read_at(offset, buffer).map_err(|error| self.unreadable(error))
    }

    /// Gives every chunk with its digest, until `take` says that no more are wanted.
    pub(crate) fn cut(
        &self,
        take: &mut dyn FnMut(&ChunkDigest, &[u8]) -> Result<bool>,
    ) -> Result<(), Uncut> {
        let failed = |error| Uncut::Seed(self.unreadable(error));
        let mut taker = Taker { take, more: Ok(true) };
        let mut cutter = Cutter::default();
        let mut buffer = Vec::new();
        for extent in self.0.extents().map_err(failed)? {
            let mut at = extent.offset;
            while at < extent.end() && matches!(taker.more, Ok(true)) {
                let len = (extent.end() - at).min(PIECE);
                buffer.resize(usize::try_from(len).unwrap_or(0), 0);
                self.0.read_at(at, &mut buffer).map_err(failed)?;
                cutter.data(at, &buffer, &mut |_, bytes| taker.chunk(bytes));
                at += len;
            }
        }
        cutter.end(&mut |_, bytes| taker.chunk(bytes));
        taker.more.map(drop).map_err(Uncut::Taker)
    }

    fn unreadable(&self, error: imgbake_disk::DiskError) -> BuildError {
        unreadable(self.0.path(), disk_error(error))
    }
}

fn unreadable(path: &Utf8Path, error: BuildError) -> BuildError {
    BuildError::failed(format!("cannot take chunks from {path}")).because(error)
}

/// Whoever takes chunks, and whether more are wanted.
struct Taker<'a> {
    take: &'a mut dyn FnMut(&ChunkDigest, &[u8]) -> Result<bool>,
    more: Result<bool>,
}

impl Taker<'_> {
    fn chunk(&mut self, bytes: &[u8]) {
        if matches!(self.more, Ok(true)) {
            self.more = (self.take)(&digest(bytes), bytes);
        }
    }
}

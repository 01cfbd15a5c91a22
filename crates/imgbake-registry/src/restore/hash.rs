//! The digest of a disk while it is being unpacked.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use imgbake_disk::DiskHasher;
use imgbake_types::Digest;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{Done, Restore};
use crate::Result;
use crate::files::{damaged, io_at};

/// Bytes that are hashed at once; of a hole, bytes between two reports of progress.
const PIECE: u64 = 1 << 20;
const HOLE_PIECE: u64 = 64 << 20;

/// Follows the segments in the disk's order, whichever order they end in.
pub(super) struct Hasher<'a> {
    restore: &'a Restore<'a>,
    progress: Box<dyn FnMut(u64) + Send>,
    sha256: DiskHasher,
    buffer: Vec<u8>,
}

impl<'a> Hasher<'a> {
    pub(super) fn new(restore: &'a Restore<'a>, progress: Box<dyn FnMut(u64) + Send>) -> Self {
        let buffer = vec![0; usize::try_from(PIECE).unwrap_or(0)];
        Self { restore, progress, sha256: DiskHasher::new(), buffer }
    }

    /// Hashes what is unpacked until all is; `None` when the unpacking ended early.
    pub(super) fn run(mut self, done: &mpsc::Receiver<Done>) -> Result<Option<Digest>> {
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for Done { number, range } in done {
            waiting.insert(number, range);
            while let Some(range) = waiting.remove(&next) {
                next += 1;
                if let Some((start, end)) = range {
                    // One that reaches back may have changed what is hashed already.
                    if start < self.sha256.position() {
                        let label = &self.restore.label;
                        return Err(damaged(format!(
                            "the segments of {label} are not in the disk's order"
                        )));
                    }
                    self.advance(end)?;
                }
            }
        }
        if next < self.restore.layers.len() {
            return Ok(None);
        }
        self.advance(self.restore.disk.virtual_size)?;
        Ok(Some(Digest::from_sha256(&self.sha256.finish())))
    }

    /// Hashes up to `end`.
    fn advance(&mut self, end: u64) -> Result<()> {
        while self.sha256.position() < end {
            self.go_on()?;
            let data = self.data_at(self.sha256.position()).min(end);
            while self.sha256.position() < data {
                let len = (data - self.sha256.position()).min(HOLE_PIECE);
                self.go_on()?;
                self.sha256.update_zeros(len);
                (self.progress)(self.sha256.position());
            }
            // What is data by the file system's word need not be: it is read all the same.
            let hole = self.hole_at(data, end);
            while self.sha256.position() < hole {
                self.piece(hole)?;
            }
        }
        Ok(())
    }

    /// An error once another thread failed, or nobody waits any more.
    fn go_on(&self) -> Result<()> {
        if self.restore.stop.load(Ordering::Relaxed) {
            return Err(damaged(format!("unpacking {} was stopped", self.restore.label)));
        }
        Ok(())
    }

    fn piece(&mut self, end: u64) -> Result<()> {
        self.go_on()?;
        let at = self.sha256.position();
        let len = usize::try_from((end - at).min(PIECE)).unwrap_or(0);
        let bytes = &mut self.buffer[..len];
        self.restore
            .written
            .read_exact_at(bytes, at)
            .map_err(io_at("read back", &self.restore.path))?;
        self.sha256.update(bytes);
        (self.progress)(self.sha256.position());
        Ok(())
    }

    /// Where the next data is; without any, the disk's end. Nothing else uses this file's position.
    fn data_at(&self, at: u64) -> u64 {
        match rustix::fs::seek(&self.restore.written, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => self.restore.disk.virtual_size,
            Err(_) => at, // a file system without holes: all is data
        }
    }

    fn hole_at(&self, at: u64, end: u64) -> u64 {
        if at >= end {
            return end;
        }
        match rustix::fs::seek(&self.restore.written, SeekFrom::Hole(at)) {
            Ok(hole) if hole > at => hole.min(end),
            _ => end,
        }
    }
}

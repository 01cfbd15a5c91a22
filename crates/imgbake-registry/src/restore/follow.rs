//! What follows the disk's order while a disk is unpacked: progress, and the digest of the whole.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use imgbake_build::Whole;
use imgbake_disk::DiskHasher;
use imgbake_types::Digest;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::output::{Done, Output};
use crate::Result;
use crate::files::{damaged, io_at};

/// Bytes that are hashed at once; of a hole, bytes between two reports of progress.
const PIECE: u64 = 1 << 20;
const HOLE_PIECE: u64 = 64 << 20;

/// A disk in parts that are written in any order.
pub(crate) trait Parts: Sync {
    /// The disk's size.
    fn virtual_size(&self) -> u64;

    /// The end of a part; they are numbered in the disk's order. `None` where there is no such part.
    fn end_of(&self, number: usize) -> Option<u64>;
}

/// Follows the parts in the disk's order, whichever order they end in.
pub(crate) struct Follower<'a> {
    output: &'a Output<'a>,
    parts: &'a dyn Parts,
    progress: Box<dyn FnMut(u64) + Send>,
    /// `None` where nobody wants the digest.
    sha256: Option<DiskHasher>,
    position: u64,
    buffer: Vec<u8>,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(
        output: &'a Output<'a>,
        parts: &'a dyn Parts,
        whole: Whole,
        progress: Box<dyn FnMut(u64) + Send>,
    ) -> Self {
        let buffer = vec![0; usize::try_from(PIECE).unwrap_or(0)];
        let sha256 = (whole == Whole::Hash).then(DiskHasher::new);
        Self { output, parts, progress, sha256, position: 0, buffer }
    }

    /// Follows until all is unpacked; gives the digest, if it is wanted.
    pub(crate) fn run(mut self, done: &mpsc::Receiver<Done>) -> Result<Option<Digest>> {
        let mut waiting = BTreeSet::new();
        let mut next = 0;
        for Done { number } in done {
            waiting.insert(number);
            while waiting.remove(&next) {
                let end = self.parts.end_of(next).unwrap_or(self.position);
                self.advance(end)?;
                next += 1;
            }
        }
        if self.parts.end_of(next).is_some() {
            let label = &self.output.label;
            return Err(damaged(format!("{label} was not unpacked to its end")));
        }
        self.advance(self.parts.virtual_size())?;
        Ok(self.sha256.map(|sha256| Digest::from_sha256(&sha256.finish())))
    }

    /// Goes on to `end`: what is before it is written.
    fn advance(&mut self, end: u64) -> Result<()> {
        if self.sha256.is_none() {
            self.go_on()?;
            self.pass(end - self.position, |_, _| {});
            return Ok(());
        }
        while self.position < end {
            let data = self.data_at(self.position).min(end);
            while self.position < data {
                self.go_on()?;
                let len = (data - self.position).min(HOLE_PIECE);
                self.pass(len, |sha256, _| sha256.update_zeros(len));
            }
            // What is data by the file system's word need not be: it is read all the same.
            let hole = self.hole_at(data, end);
            while self.position < hole {
                self.go_on()?;
                self.piece(hole)?;
            }
        }
        Ok(())
    }

    /// An error once another thread failed, or nobody waits any more.
    fn go_on(&self) -> Result<()> {
        if self.output.stop.load(Ordering::Relaxed) {
            return Err(damaged(format!("unpacking {} was stopped", self.output.label)));
        }
        Ok(())
    }

    fn pass(&mut self, len: u64, hash: impl FnOnce(&mut DiskHasher, &[u8])) {
        if let Some(sha256) = &mut self.sha256 {
            hash(sha256, &self.buffer);
        }
        self.position += len;
        (self.progress)(self.position);
    }

    fn piece(&mut self, end: u64) -> Result<()> {
        let output = self.output;
        let len = (end - self.position).min(PIECE);
        let count = usize::try_from(len).unwrap_or(0);
        let bytes = &mut self.buffer[..count];
        output
            .written
            .read_exact_at(bytes, self.position)
            .map_err(io_at("read back", &output.path))?;
        self.pass(len, |sha256, buffer| sha256.update(&buffer[..count]));
        Ok(())
    }

    /// Where the next data is; without any, the disk's end. Nothing else uses this file's position.
    fn data_at(&self, at: u64) -> u64 {
        match rustix::fs::seek(&self.output.written, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => self.parts.virtual_size(),
            Err(_) => at, // a file system without holes: all is data
        }
    }

    fn hole_at(&self, at: u64, end: u64) -> u64 {
        if at >= end {
            return end;
        }
        match rustix::fs::seek(&self.output.written, SeekFrom::Hole(at)) {
            Ok(hole) if hole > at => hole.min(end),
            _ => end,
        }
    }
}

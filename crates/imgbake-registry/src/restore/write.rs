//! Chunks on their way from packs into a file.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use imgbake_build::BuildError;
use imgbake_build::capture::disk_error;
use imgbake_disk::DiskError;
use imgbake_disk::chunk::{Chunk, ChunkTable, FrameReader};

use super::follow::Parts;
use super::output::{Done, Output};
use super::ranges::{PackRange, coalesce};
use super::source::PackSource;
use crate::Result;

/// Bytes of the disk that one thread writes before it takes what is next.
const JOB: u64 = 4 << 20;
/// The most of a pack that is read at once.
const MOST: u64 = 4 << 20;

/// A disk that is unpacked.
pub(super) struct Unpack<'a> {
    table: &'a ChunkTable,
    packs: &'a dyn PackSource,
    pub(super) output: &'a Output<'a>,
    /// Runs of chunks, in the disk's order.
    jobs: Vec<Range<usize>>,
    next: AtomicUsize,
}

impl<'a> Unpack<'a> {
    pub(super) fn new(
        table: &'a ChunkTable,
        packs: &'a dyn PackSource,
        output: &'a Output<'a>,
    ) -> Self {
        Self { table, packs, output, jobs: jobs(table.chunks()), next: AtomicUsize::new(0) }
    }

    /// Does jobs until none is left.
    pub(super) fn run(&self, done: &mpsc::Sender<Done>) -> Result<()> {
        let stop = self.output.stop;
        let mut reader = FrameReader::new().map_err(disk_error)?;
        let mut buffer = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(number) else { return Ok(()) };
            self.job(&self.table.chunks()[job.clone()], &mut reader, &mut buffer)
                .inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            // Nobody listens any more once the follower failed: its error is reported.
            let _ = done.send(Done { number });
        }
        Ok(())
    }

    fn job(&self, chunks: &[Chunk], reader: &mut FrameReader, buffer: &mut Vec<u8>) -> Result<()> {
        for range in coalesce(chunks, self.packs.gap(), MOST) {
            if self.output.stop.load(Ordering::Relaxed) {
                return Ok(()); // another thread's error is reported
            }
            self.range(chunks, &range, reader, buffer)?;
        }
        Ok(())
    }

    fn range(
        &self,
        chunks: &[Chunk],
        range: &PackRange,
        reader: &mut FrameReader,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let pack = &self.table.packs()[usize::try_from(range.pack).unwrap_or(usize::MAX)];
        buffer.resize(usize::try_from(range.len).unwrap_or(usize::MAX), 0);
        self.packs.read(pack, range.offset, buffer)?;
        for chunk in range.chunks.iter().map(|number| &chunks[*number]) {
            let at = |offset: u64| usize::try_from(offset - range.offset).unwrap_or(usize::MAX);
            let frame = &buffer[at(u64::from(chunk.frame.offset))..at(chunk.frame.end())];
            let bytes = reader
                .chunk(frame, chunk.len, &chunk.digest)
                .map_err(|error| self.damage(chunk, &error))?;
            self.output.write(chunk, bytes)?;
        }
        Ok(())
    }

    fn damage(&self, chunk: &Chunk, error: &DiskError) -> BuildError {
        let pack = &self.table.packs()[usize::try_from(chunk.frame.pack).unwrap_or(usize::MAX)];
        let place = format!("from byte {} on, {}", chunk.frame.offset, error.detail());
        self.packs.broken(pack, &place)
    }
}

impl Parts for Unpack<'_> {
    fn virtual_size(&self) -> u64 {
        self.table.virtual_size()
    }

    fn end_of(&self, job: usize) -> Option<u64> {
        let last = self.jobs.get(job)?.end.checked_sub(1)?;
        self.table.chunks().get(last).map(Chunk::end)
    }
}

/// Runs of chunks of about [`JOB`] bytes of the disk.
fn jobs(chunks: &[Chunk]) -> Vec<Range<usize>> {
    let mut jobs = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (number, chunk) in chunks.iter().enumerate() {
        bytes += u64::from(chunk.len);
        if bytes >= JOB {
            jobs.push(start..number + 1);
            (start, bytes) = (number + 1, 0);
        }
    }
    if start < chunks.len() {
        jobs.push(start..chunks.len());
    }
    jobs
}

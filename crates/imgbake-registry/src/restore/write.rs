//! Chunks on their way from packs into a file.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use camino::Utf8PathBuf;
use imgbake_build::BuildError;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{Chunk, ChunkTable, FrameReader};
use imgbake_disk::{DiskError, DiskErrorKind};
use imgbake_runtime::space;
use imgbake_types::record::DiskRecord;

use super::PackSource;
use super::follow::Parts;
use super::ranges::{PackRange, coalesce};
use crate::Result;
use crate::files::{damaged, io_at};

/// Bytes of the disk that one thread writes before it takes what is next.
const JOB: u64 = 4 << 20;
/// The most of a pack that is read at once.
const MOST: u64 = 4 << 20;

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
            // Nobody listens any more once the follower failed: its error is told.
            let _ = done.send(Done { number });
        }
        Ok(())
    }

    fn job(&self, chunks: &[Chunk], reader: &mut FrameReader, buffer: &mut Vec<u8>) -> Result<()> {
        for range in coalesce(chunks, self.packs.gap(), MOST) {
            if self.output.stop.load(Ordering::Relaxed) {
                return Ok(()); // another thread's error is told
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

/// What opens an open file once more (proc(5), `/proc/pid/fd`).
fn link_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The path of an open file, as far as the system tells it.
fn path_of(file: &File) -> Utf8PathBuf {
    let path = std::fs::read_link(link_of(file))
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    path.unwrap_or_else(|| Utf8PathBuf::from("the disk"))
}

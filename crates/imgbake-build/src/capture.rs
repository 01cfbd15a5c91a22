//! Capture: one pass over a disk gives its digest, its compressed segments and the residue check.
//!
//! ```text
//! reader ──► hasher       sha256 of the whole virtual disk, holes as zeros
//!        ├─► tap          the residue check
//!        └─► compressors  one segment each, at most SEGMENT bytes of the disk
//! ```
//! Every queue is bounded, so that memory is the same whatever the disk's size: at most
//! `(compressors + 2) × SEGMENT` and a few buffers.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::hash::DiskHasher;
use imgbake_disk::segment::SegmentWriter;
use imgbake_disk::zero::zero_runs;
use imgbake_disk::{DiskError, DiskErrorKind, DiskSource, Extent};
use imgbake_runtime::Cancel;
use imgbake_types::Digest;
use sha2::Digest as _;

use crate::{BuildError, BuildErrorKind, Capture, Hit, SegmentBlob};

/// Sees each piece of a disk's data while it is captured, in the disk's order.
pub trait Tap: Send {
    /// The disk's bytes at an offset. Pieces come in order and do not overlap.
    fn data(&mut self, offset: u64, bytes: &[u8]);

    /// What was found.
    fn finish(self: Box<Self>) -> Vec<Hit>;
}

/// A tap that looks at nothing.
#[derive(Debug, Default)]
pub struct NoTap;

impl Tap for NoTap {
    fn data(&mut self, _: u64, _: &[u8]) {}
    fn finish(self: Box<Self>) -> Vec<Hit> {
        Vec::new()
    }
}

/// Bytes read at once: the unit that goes through the queues.
const PIECE: u64 = 1 << 20;
/// Bytes of the disk in one segment, at most. Measured: 16 MiB costs under 1 % of size against one
/// frame for all, and keeps three workers below 100 MiB.
const SEGMENT: u64 = 16 << 20;
/// zstd's level: 1 packs 2.2 times faster than 3 for a tenth more bytes on a Debian root.
const LEVEL: i32 = 1;
/// Pieces that wait for the hasher or the tap.
const QUEUE: usize = 8;

type Piece = (u64, Arc<Vec<u8>>);

/// What a capture reads and where it writes.
pub struct CaptureRequest<'a> {
    /// The disk. Nothing else may write to it.
    pub disk: &'a dyn DiskSource,
    /// An empty folder for the segments.
    pub folder: &'a Utf8Path,
    /// What looks at the bytes on the way.
    pub tap: Box<dyn Tap>,
    /// Ends the capture early.
    pub cancel: &'a Cancel,
    /// Is given the position on the disk, in bytes.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Reads a disk once.
///
/// # Errors
/// The disk's image is damaged, a file system is full, or the job was cancelled.
pub fn capture(request: CaptureRequest<'_>) -> Result<(Capture, Vec<Hit>), BuildError> {
    let CaptureRequest { disk, folder, mut tap, cancel, progress } = request;
    let stop = AtomicBool::new(false);
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    thread::scope(|scope| {
        let (to_hasher, hash_queue) = sync_channel::<Piece>(QUEUE);
        let (to_tap, tap_queue) = sync_channel::<Piece>(QUEUE);
        let (to_workers, work_queue) = sync_channel::<(usize, Vec<Piece>)>(1);
        let work_queue = Arc::new(std::sync::Mutex::new(work_queue));

        let virtual_size = disk.virtual_size();
        let hasher = scope.spawn(move || hash(&hash_queue, virtual_size));
        let tapper = scope.spawn(move || {
            for (offset, bytes) in tap_queue {
                tap.data(offset, &bytes);
            }
            tap.finish()
        });
        let compressors: Vec<_> = (0..workers)
            .map(|_| {
                let (queue, stop) = (Arc::clone(&work_queue), &stop);
                scope.spawn(move || {
                    let done = compress_all(&queue, folder, virtual_size);
                    if done.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    done
                })
            })
            .collect();
        // The queue must end when the last worker ends, or the reader would wait for ever.
        drop(work_queue);

        let senders = Senders { hasher: to_hasher, tap: to_tap, workers: to_workers };
        let read = read_all(
            disk,
            senders,
            || stop.load(Ordering::Relaxed) || cancel.is_cancelled(),
            progress,
        );

        let sha256 = hasher.join().map_err(panicked)?;
        let hits = tapper.join().map_err(panicked)?;
        let mut segments = Vec::new();
        for worker in compressors {
            segments.extend(worker.join().map_err(panicked)??);
        }
        let data_bytes = read.map_err(disk_error)?;
        cancel.check()?;
        segments.sort_by_key(|(number, _)| *number);
        let segments = segments.into_iter().map(|(_, blob)| blob).collect();
        Ok((
            Capture { sha256: Digest::from_sha256(&sha256), virtual_size, data_bytes, segments },
            hits,
        ))
    })
}

/// A disk image's error as a build's.
pub fn disk_error(error: DiskError) -> BuildError {
    if error.kind() == DiskErrorKind::Full {
        let path = error.path().map_or_else(|| Utf8PathBuf::from("/"), Utf8Path::to_owned);
        return imgbake_runtime::space::full(&path, None).into();
    }
    BuildError::new(BuildErrorKind::Failed, error.to_string()).because(error)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> BuildError {
    BuildError::failed("a capture thread panicked: this is a defect of imgbake, please report it")
}

fn hash(queue: &Receiver<Piece>, virtual_size: u64) -> [u8; 32] {
    let mut hasher = DiskHasher::new();
    for (offset, bytes) in queue {
        hasher.update_zeros(offset - hasher.position());
        hasher.update(&bytes);
    }
    hasher.update_zeros(virtual_size.saturating_sub(hasher.position()));
    hasher.finish()
}

struct Senders {
    hasher: SyncSender<Piece>,
    tap: SyncSender<Piece>,
    workers: SyncSender<(usize, Vec<Piece>)>,
}

/// Reads every extent and hands it on; gives the bytes that are not in zero blocks.
fn read_all(
    disk: &dyn DiskSource,
    senders: Senders,
    stopped: impl Fn() -> bool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, DiskError> {
    // Dropped at the end of this function: the queues end, and so do their threads.
    let Senders { hasher, tap, workers } = senders;
    let (mut data_bytes, mut number, mut filled, mut held) = (0, 0, 0, 0);
    let mut batch: Vec<Piece> = Vec::new();
    for piece in pieces(&disk.extents()?, disk.virtual_size()) {
        if stopped() {
            break;
        }
        let mut bytes = vec![0; usize::try_from(piece.len).unwrap_or_default()];
        disk.read_at(piece.offset, &mut bytes)?;
        progress(piece.offset);
        let data: u64 = zero_runs(&bytes).map(|run| run.len() as u64).sum();
        if data == 0 {
            continue;
        }
        data_bytes += data;
        filled += data;
        let bytes = Arc::new(bytes);
        // A receiver that is gone has failed, and says so itself.
        let _ = hasher.send((piece.offset, Arc::clone(&bytes)));
        let _ = tap.send((piece.offset, Arc::clone(&bytes)));
        batch.push((piece.offset, bytes));
        held += piece.len;
        // What is held counts as well: pieces that are mostly zeros fill memory, not segments.
        if filled + PIECE > SEGMENT || held >= 2 * SEGMENT {
            let _ = workers.send((number, std::mem::take(&mut batch)));
            (number, filled, held) = (number + 1, 0, 0);
        }
    }
    if !batch.is_empty() {
        let _ = workers.send((number, batch));
    }
    progress(disk.virtual_size());
    Ok(data_bytes)
}

/// Cuts extents, widened to whole 4 KiB blocks, into pieces.
fn pieces(extents: &[Extent], virtual_size: u64) -> impl Iterator<Item = Extent> {
    const BLOCK: u64 = 4096;
    let mut end = 0;
    let mut wide = Vec::with_capacity(extents.len());
    for extent in extents {
        let offset = (extent.offset / BLOCK * BLOCK).max(end);
        end = extent.end().next_multiple_of(BLOCK).min(virtual_size).max(end);
        if offset < end {
            wide.push(Extent { offset, len: end - offset });
        }
    }
    wide.into_iter().flat_map(|extent| {
        (extent.offset..extent.end())
            .step_by(usize::try_from(PIECE).unwrap_or(usize::MAX))
            .map(move |offset| Extent { offset, len: PIECE.min(extent.end() - offset) })
    })
}

type Queue = std::sync::Mutex<Receiver<(usize, Vec<Piece>)>>;

fn compress_all(
    queue: &Queue,
    folder: &Utf8Path,
    virtual_size: u64,
) -> Result<Vec<(usize, SegmentBlob)>, BuildError> {
    let mut done = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        let Ok((number, batch)) = next else { return Ok(done) };
        let path = folder.join(format!("segment-{number:06}"));
        done.push((number, compress(&path, &batch, virtual_size)?));
    }
}

fn compress(
    path: &Utf8Path,
    batch: &[Piece],
    virtual_size: u64,
) -> Result<SegmentBlob, BuildError> {
    let at_path = |error: DiskError| {
        if error.kind() == DiskErrorKind::Full {
            return imgbake_runtime::space::full(path, Some(SEGMENT)).into();
        }
        disk_error(error)
    };
    let write = |error: io::Error| {
        BuildError::from(imgbake_runtime::RuntimeError::io("write", path, error))
    };
    let file = File::create_new(path).map_err(write)?;
    let out = BufWriter::with_capacity(1 << 18, HashingFile::new(file));
    let mut segment = SegmentWriter::new(out, virtual_size, LEVEL).map_err(at_path)?;
    for (offset, bytes) in batch {
        for run in zero_runs(bytes) {
            segment.record(offset + run.start as u64, &bytes[run]).map_err(at_path)?;
        }
    }
    let (out, _) = segment.finish().map_err(at_path)?;
    let file = out.into_inner().map_err(|error| write(error.into_error()))?;
    let (digest, size) = file.finish();
    Ok(SegmentBlob { path: path.to_owned(), digest, size })
}

/// A file that hashes what is written to it.
struct HashingFile {
    file: File,
    sha256: sha2::Sha256,
    size: u64,
}

impl HashingFile {
    fn new(file: File) -> Self {
        Self { file, sha256: sha2::Sha256::new(), size: 0 }
    }

    fn finish(self) -> (Digest, u64) {
        (Digest::from_sha256(&self.sha256.finalize()), self.size)
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

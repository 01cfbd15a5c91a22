//! From chunks to packs: batches go to workers, and come back into their order at the writer.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use camino::Utf8Path;
use imgbake_disk::chunk::{ChunkDigest, Frame, FrameWriter, LEVEL, digest};

use super::background::Written;
use super::known_chunks::{KnownChunks, Row};
use super::packs::PackWriter;
use super::piece::Piece;
use super::threads::{panicked, stand_back};
use crate::BuildError;
use crate::error::disk_error;

/// Bytes of chunks that go to a worker at once, about.
const BATCH: usize = 1 << 20;
/// Batches that wait for a worker. The digest of the whole disk is one long row of work, at its end
/// often over nothing but zeros: what waits here keeps the other cores busy until then.
const BACKLOG: usize = 200;

/// A chunk's bytes.
pub(super) enum Content {
    /// In a piece of the disk.
    In(Arc<Piece>, Range<usize>),
    /// By themselves: they lie in two pieces, or were read for this.
    Apart(Vec<u8>),
}

impl Content {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::In(piece, range) => piece.bytes(range),
            Self::Apart(bytes) => bytes,
        }
    }
}

/// Chunks, one after the other.
#[derive(Default)]
struct Batch {
    number: u64,
    bytes: usize,
    /// Offset on the disk, and bytes.
    chunks: Vec<(u64, Content)>,
}

/// A batch that a worker is done with.
struct Done {
    number: u64,
    rows: Vec<(Row, Location)>,
    frames: Vec<u8>,
}

/// Where a chunk is, as far as its worker knows.
enum Location {
    /// Where its row says.
    Stored,
    /// In the same place as an equal chunk before it.
    Twin,
    /// Among the batch's frames.
    Frame(Range<usize>),
}

/// Chunks of this capture, by digest.
enum Seen {
    /// The first batch, so far, in which it is.
    In(u64),
    Written(Frame),
}

type Chunks = Mutex<HashMap<ChunkDigest, Seen>>;

/// Stores chunks.
pub(super) struct Packer<'a> {
    known: &'a KnownChunks,
    writer: PackWriter,
    seen: Chunks,
    rows: Vec<Row>,
    workers: usize,
}

/// Takes chunks in their order.
pub(super) struct Feed {
    batch: Batch,
    queue: SyncSender<Batch>,
    /// One message for each batch between here and the writer.
    under_way: SyncSender<()>,
}

impl Feed {
    /// Adds a chunk; returns whether more are wanted.
    pub(super) fn chunk(&mut self, offset: u64, content: Content) -> bool {
        self.batch.bytes += content.bytes().len();
        self.batch.chunks.push((offset, content));
        self.batch.bytes < BATCH || self.send()
    }

    /// Nobody at the other end means that it failed, and says so itself.
    fn send(&mut self) -> bool {
        let next = Batch { number: self.batch.number + 1, ..Batch::default() };
        let batch = std::mem::replace(&mut self.batch, next);
        batch.chunks.is_empty()
            || (self.under_way.send(()).is_ok() && self.queue.send(batch).is_ok())
    }
}

impl<'a> Packer<'a> {
    /// A packer that writes into a folder.
    pub(super) fn new(folder: &Utf8Path, known: &'a KnownChunks) -> Result<Self, BuildError> {
        // A level that zstd does not have is reported before anything runs.
        FrameWriter::new(LEVEL).map_err(disk_error)?;
        Ok(Self {
            known,
            writer: PackWriter::new(folder, known.packs().len()),
            seen: Mutex::default(),
            rows: Vec::new(),
            workers: thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
        })
    }

    /// What is known.
    pub(super) fn known(&self) -> &'a KnownChunks {
        self.known
    }

    /// The rows of all that was stored since the last time, in the order in which it was fed.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.rows)
    }

    /// Ends the last pack; gives all that were written.
    pub(super) fn finish(self) -> Result<Vec<Written>, BuildError> {
        self.writer.finish()
    }

    /// Stores what `produce` feeds, each chunk once, and what is known not at all. Sets `stop` where
    /// that fails.
    pub(super) fn run<T>(
        &mut self,
        stop: &AtomicBool,
        produce: impl FnOnce(&mut Feed) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        self.pass(self.known, stop, produce)
    }

    /// Stores what `produce` feeds, each chunk once, whatever is known.
    pub(super) fn run_unknown<T>(
        &mut self,
        stop: &AtomicBool,
        produce: impl FnOnce(&mut Feed) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        self.pass(&KnownChunks::default(), stop, produce)
    }

    fn pass<T>(
        &mut self,
        known: &KnownChunks,
        stop: &AtomicBool,
        produce: impl FnOnce(&mut Feed) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let Self { writer, seen, rows, workers, .. } = self;
        let seen = &*seen;
        thread::scope(|scope| {
            let (queue, batches) = sync_channel(BACKLOG);
            let (under_way, arrived) = sync_channel(BACKLOG + 2 * *workers + 4);
            let (to_writer, done) = sync_channel(2 * *workers + 4);
            let (used, spare) = sync_channel(2 * *workers + 8);
            let spare = Arc::new(Mutex::new(spare));
            let batches = Arc::new(Mutex::new(batches));
            let workers: Vec<_> = (0..*workers)
                .map(|_| {
                    let (batches, to_writer) = (Arc::clone(&batches), to_writer.clone());
                    let spare = Arc::clone(&spare);
                    scope.spawn(move || {
                        work(&batches, &spare, known, seen, &to_writer)
                            .inspect_err(|_| stop.store(true, Ordering::Relaxed))
                    })
                })
                .collect();
            // The queues must end when the last worker ends, or others would wait for ever.
            drop((batches, to_writer));
            let writing = scope.spawn(move || {
                write(&done, &arrived, &used, seen, writer, rows)
                    .inspect_err(|_| stop.store(true, Ordering::Relaxed))
            });
            let mut feed = Feed { batch: Batch::default(), queue, under_way };
            let produced = produce(&mut feed);
            feed.send();
            drop(feed);
            for worker in workers {
                worker.join().map_err(panicked)??;
            }
            writing.join().map_err(panicked)??;
            produced
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(
    batches: &Mutex<Receiver<Batch>>,
    spare: &Mutex<Receiver<Vec<u8>>>,
    known: &KnownChunks,
    seen: &Chunks,
    done: &SyncSender<Done>,
) -> Result<(), BuildError> {
    stand_back();
    let mut zstd = FrameWriter::new(LEVEL).map_err(disk_error)?;
    loop {
        let next = lock(batches).recv();
        let Ok(Batch { number, chunks, .. }) = next else { return Ok(()) };
        let mut frames = lock(spare).try_recv().unwrap_or_default();
        let mut rows = Vec::with_capacity(chunks.len());
        for (offset, content) in chunks {
            let chunk = content.bytes();
            let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            let digest = digest(chunk);
            let stored = known.find(&digest);
            let frame = stored.unwrap_or(Frame { pack: 0, offset: 0, len: 0 });
            let place = if stored.is_some() {
                Location::Stored
            } else if is_first(seen, &digest, number) {
                let start = frames.len();
                zstd.append(chunk, &mut frames).map_err(disk_error)?;
                Location::Frame(start..frames.len())
            } else {
                Location::Twin
            };
            rows.push((Row { offset, len, digest, frame }, place));
        }
        if done.send(Done { number, rows, frames }).is_err() {
            return Ok(());
        }
    }
}

/// Whether no batch before this one, and nothing before in this one, has the chunk: as far as is known
/// now. A chunk that is packed twice is written once.
fn is_first(seen: &Chunks, digest: &ChunkDigest, number: u64) -> bool {
    let mut seen = lock(seen);
    match seen.get_mut(digest) {
        Some(Seen::In(first)) if *first > number => {
            *first = number;
            true
        }
        Some(_) => false,
        None => {
            seen.insert(*digest, Seen::In(number));
            true
        }
    }
}

/// Writes batches in their order, whichever order they come in.
fn write(
    done: &Receiver<Done>,
    arrived: &Receiver<()>,
    used: &SyncSender<Vec<u8>>,
    seen: &Chunks,
    writer: &mut PackWriter,
    all: &mut Vec<Row>,
) -> Result<(), BuildError> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for Done { number, rows, frames } in done {
        waiting.insert(number, (rows, frames));
        while let Some((rows, mut frames)) = waiting.remove(&next) {
            for (mut row, place) in rows {
                if !matches!(place, Location::Stored) {
                    row.frame = place_of(&row, place, &frames, seen, writer)?;
                }
                all.push(row);
            }
            frames.clear();
            let _ = used.try_send(frames);
            next += 1;
            let _ = arrived.recv();
        }
    }
    Ok(())
}

fn place_of(
    row: &Row,
    place: Location,
    frames: &[u8],
    seen: &Chunks,
    writer: &mut PackWriter,
) -> Result<Frame, BuildError> {
    if let Some(Seen::Written(frame)) = lock(seen).get(&row.digest) {
        return Ok(*frame);
    }
    let Location::Frame(range) = place else {
        return Err(BuildError::failed("a chunk is in no pack: this is a defect of imgbake"));
    };
    let frame = writer.add(&frames[range])?;
    lock(seen).insert(row.digest, Seen::Written(frame));
    Ok(frame)
}

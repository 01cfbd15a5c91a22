//! From chunks to packs: batches go to workers, and come back into their order at the writer.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use camino::Utf8Path;
use imgbake_disk::chunk::{ChunkDigest, Frame, FrameWriter, digest};

use super::known::Known;
use super::packs::{PackWriter, Written};
use super::{Row, disk_error, panicked};
use crate::BuildError;

/// zstd's level of a chunk's frame: 3 stores 3.5 % less than 1 for a tenth more time, frame by frame.
pub const LEVEL: i32 = 3;
/// Bytes of chunks that go to a worker at once, about.
const BATCH: usize = 1 << 20;

/// Chunks, one after the other.
#[derive(Default)]
struct Batch {
    number: u64,
    bytes: Vec<u8>,
    /// Offset on the disk, and length.
    chunks: Vec<(u64, u32)>,
}

/// A batch that a worker is done with.
struct Done {
    number: u64,
    rows: Vec<(Row, Place)>,
}

/// Where a chunk is, as far as its worker knows.
enum Place {
    /// Where its row says.
    Stored,
    /// In the same place as an equal chunk before it.
    Twin,
    /// Here.
    Frame(Vec<u8>),
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
    known: &'a Known,
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
    /// Adds a chunk; tells whether more are wanted.
    pub(super) fn chunk(&mut self, offset: u64, bytes: &[u8]) -> bool {
        self.batch.bytes.extend_from_slice(bytes);
        self.batch.chunks.push((offset, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        self.batch.bytes.len() < BATCH || self.send()
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
    pub(super) fn new(folder: &Utf8Path, known: &'a Known) -> Result<Self, BuildError> {
        // A level that zstd does not have is told before anything runs.
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
    pub(super) fn known(&self) -> &'a Known {
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
        self.pass(&Known::default(), stop, produce)
    }

    fn pass<T>(
        &mut self,
        known: &Known,
        stop: &AtomicBool,
        produce: impl FnOnce(&mut Feed) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let Self { writer, seen, rows, workers, .. } = self;
        let seen = &*seen;
        thread::scope(|scope| {
            let (queue, batches) = sync_channel(*workers);
            let (under_way, arrived) = sync_channel(2 * *workers + 4);
            let (to_writer, done) = sync_channel(2 * *workers + 4);
            let batches = Arc::new(Mutex::new(batches));
            let workers: Vec<_> = (0..*workers)
                .map(|_| {
                    let (batches, to_writer) = (Arc::clone(&batches), to_writer.clone());
                    scope.spawn(move || {
                        work(&batches, known, seen, &to_writer)
                            .inspect_err(|_| stop.store(true, Ordering::Relaxed))
                    })
                })
                .collect();
            // The queues must end when the last worker ends, or others would wait for ever.
            drop((batches, to_writer));
            let writing = scope.spawn(move || {
                write(&done, &arrived, seen, writer, rows)
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
    known: &Known,
    seen: &Chunks,
    done: &SyncSender<Done>,
) -> Result<(), BuildError> {
    let mut zstd = FrameWriter::new(LEVEL).map_err(disk_error)?;
    loop {
        let next = lock(batches).recv();
        let Ok(Batch { number, bytes, chunks }) = next else { return Ok(()) };
        let mut rest = &bytes[..];
        let mut rows = Vec::with_capacity(chunks.len());
        for (offset, len) in chunks {
            let (chunk, more) = rest.split_at(super::known::index(len));
            rest = more;
            let digest = digest(chunk);
            let stored = known.find(&digest);
            let frame = stored.unwrap_or(Frame { pack: 0, offset: 0, len: 0 });
            let place = if stored.is_some() {
                Place::Stored
            } else if is_first(seen, &digest, number) {
                Place::Frame(zstd.frame(chunk).map_err(disk_error)?)
            } else {
                Place::Twin
            };
            rows.push((Row { offset, len, digest, frame }, place));
        }
        if done.send(Done { number, rows }).is_err() {
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
    seen: &Chunks,
    writer: &mut PackWriter,
    all: &mut Vec<Row>,
) -> Result<(), BuildError> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for Done { number, rows } in done {
        waiting.insert(number, rows);
        while let Some(rows) = waiting.remove(&next) {
            for (mut row, place) in rows {
                if !matches!(place, Place::Stored) {
                    row.frame = place_of(&row, place, seen, writer)?;
                }
                all.push(row);
            }
            next += 1;
            let _ = arrived.recv();
        }
    }
    Ok(())
}

fn place_of(
    row: &Row,
    place: Place,
    seen: &Chunks,
    writer: &mut PackWriter,
) -> Result<Frame, BuildError> {
    if let Some(Seen::Written(frame)) = lock(seen).get(&row.digest) {
        return Ok(*frame);
    }
    let Place::Frame(bytes) = place else {
        return Err(BuildError::failed("a chunk is in no pack: this is a defect of imgbake"));
    };
    let frame = writer.add(&bytes)?;
    lock(seen).insert(row.digest, Seen::Written(frame));
    Ok(frame)
}

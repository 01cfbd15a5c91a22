//! Capture: one pass over a disk gives its digest, its chunks in packs and the residue check.
//!
//! ```text
//! reader ─┬─► hasher   sha256 of the whole virtual disk, holes as zeros
//!         ├─► tap      the residue check
//!         └─► cutter ──► workers ──► pack writer ──► digester   sha256 of each pack
//!                        digest; stored already?    └─► flusher    to the disk
//!                        else zstd
//! ```
//! Every queue is bounded, and the number of batches between reader and writer is: so that memory
//! grows with the number of chunks alone, by some 150 bytes for each. The packs are the same, byte for
//! byte, whichever worker is faster. Why so much may wait for the workers: `docs/decisions/0009-chunks.md`.

mod background;
mod delta;
mod known_chunks;
mod packs;
mod piece;
mod pipeline;
mod read;
mod reuse;
mod tap;
mod threads;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use camino::Utf8Path;
use imgbake_disk::chunk::{ChunkTable, PackRef};
use imgbake_disk::{DiskSource, Extent};
use imgbake_runtime::Cancel;
use imgbake_types::Digest;

use crate::{BuildError, Capture};

pub use crate::error::disk_error;
pub use delta::Changed;
pub use known_chunks::KnownChunks;
pub use tap::{Hit, NoTap, Tap};

use pipeline::Packer;
use read::Reader;
use threads::panicked;

/// What a capture reads and where it writes.
pub struct CaptureRequest<'a> {
    /// The disk. Nothing else may write to it.
    pub disk: &'a dyn DiskSource,
    /// An empty folder for the packs.
    pub folder: &'a Utf8Path,
    /// What is stored already.
    pub known: KnownChunks,
    /// Where alone the disk differs from one that is stored already, if that is known: then nothing
    /// else of it is read. The tap sees what is read: what a build brought in can only be in what it
    /// changed.
    pub changed: Option<Changed>,
    /// What looks at the bytes on the way.
    pub tap: Box<dyn Tap>,
    /// Ends the capture early.
    pub cancel: &'a Cancel,
    /// Is given the position on the disk, in bytes.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Reads a disk once: whole, or where it changed.
///
/// # Errors
/// The disk's image is damaged, a file system is full, or the job was cancelled.
pub fn capture(request: CaptureRequest<'_>) -> Result<(Capture, Vec<Hit>), BuildError> {
    let CaptureRequest { disk, folder, mut known, changed, tap, cancel, progress } = request;
    let virtual_size = disk.virtual_size();
    let base = match changed {
        Some(changed) => delta::check(disk, changed, &mut known)?,
        None => None,
    };
    let whole = [Extent { offset: 0, len: virtual_size }];
    let windows = base.as_ref().map_or(&whole[..], |base| base.windows());
    let stop = AtomicBool::new(false);
    let mut packer = Packer::new(folder, &known)?;
    let reader = Reader { disk, windows, hashed: base.is_none(), cancel, stop: &stop, progress };
    let (sha256, hits, mut read_bytes) = first_pass(reader, &mut packer, tap)?;
    let mut rows = packer.take_rows();
    if let Some(base) = &base {
        rows.extend(base.kept());
        rows.sort_unstable_by_key(|row| row.offset);
    }
    read_bytes += reuse::store_anew(disk, &mut rows, &mut packer, cancel, &stop)?;
    progress(virtual_size);
    cancel.check()?;
    let packs = packer.finish()?;
    let refs: Vec<PackRef> =
        known.packs().iter().copied().chain(packs.iter().map(|pack| pack.reference)).collect();
    let table = ChunkTable::new(virtual_size, &refs, rows).map_err(disk_error)?;
    let packs = packs.into_iter().map(|pack| pack.blob).collect();
    Ok((Capture { sha256, table: Arc::new(table), packs, read_bytes, plain: None }, hits))
}

/// The pass over the windows: sha256 where the whole disk is read, what the tap found, bytes read.
fn first_pass(
    reader: Reader<'_>,
    packer: &mut Packer<'_>,
    tap: Box<dyn Tap>,
) -> Result<(Option<Digest>, Vec<Hit>, u64), BuildError> {
    let (virtual_size, hashed) = (reader.disk.virtual_size(), reader.hashed);
    let stop = reader.stop;
    thread::scope(|scope| {
        let (hash_queue, to_hasher) = read::queue();
        let (tap_queue, to_tap) = read::queue();
        let hashing = scope.spawn(move || hashed.then(|| read::hash(&to_hasher, virtual_size)));
        let tapper = scope.spawn(move || read::look(&to_tap, tap));
        let read = packer.run(stop, |feed| reader.run(feed, &hash_queue, &tap_queue));
        // The queues end, and so do their threads.
        drop((hash_queue, tap_queue));
        let sha256 = hashing.join().map_err(panicked)?;
        let hits = tapper.join().map_err(panicked)?;
        Ok((sha256.map(|raw| Digest::from_sha256(&raw)), hits, read?))
    })
}

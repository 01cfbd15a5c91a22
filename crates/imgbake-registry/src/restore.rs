//! What is stored becomes a disk again: several threads unpack chunks, and another hashes what they
//! wrote.

mod follow;
mod output;
mod packed;
mod ranges;
mod source;
mod write;

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use imgbake_build::Whole;
use imgbake_types::Digest;
use imgbake_types::record::DiskRecord;

use crate::Result;
use crate::files::damaged;
use crate::store::Store;
use crate::version::by_digest;

pub(crate) use follow::{Follower, Parts};
pub(crate) use output::{Done, Output};
pub(crate) use packed::Packed;
pub(crate) use ranges::coalesce;
pub(crate) use source::{LocalPacks, PackSource};

use write::Unpack;

/// Writes a version's disk into an empty file and proves it against the version's digest. Setting
/// `stop` ends it early, with an error.
pub(crate) fn restore(
    store: &Store,
    digest: &Digest,
    into: &File,
    whole: Whole,
    progress: Box<dyn FnMut(u64) + Send>,
    stop: &AtomicBool,
) -> Result<Option<Digest>> {
    let (label, version) = by_digest(store, &store.index()?, digest)?;
    let packed = Packed::of_version(store, label, &version)?;
    unpack(store, packed, into, whole, progress, stop)
}

/// Writes a stored disk into an empty file in the same way.
pub(crate) fn unpack(
    store: &Store,
    packed: Packed,
    into: &File,
    whole: Whole,
    progress: Box<dyn FnMut(u64) + Send>,
    stop: &AtomicBool,
) -> Result<Option<Digest>> {
    let table = packed.table(store)?;
    let Packed { label, disk, .. } = packed;
    let packs = LocalPacks::new(store, &label);
    let output = Output::prepare(into, &label, &disk, stop)?;
    let found = write_all(&Unpack::new(&table, &packs, &output), whole, progress)?;
    prove(&label, &disk, found.as_ref())?;
    Ok(found)
}

/// Compares the digest of a whole disk, where it was computed, with what its version states.
pub(crate) fn prove(label: &str, disk: &DiskRecord, found: Option<&Digest>) -> Result<()> {
    match (found, &disk.sha256) {
        (Some(found), Some(stated)) if found != stated => Err(damaged(format!(
            "the disk of {label} is not what was captured: it is {found}, captured was {stated}"
        ))
        .help("the version is damaged, though each blob is sound: build the image again")),
        _ => Ok(()),
    }
}

/// Writes every chunk, and follows what is written.
fn write_all(
    unpack: &Unpack<'_>,
    whole: Whole,
    progress: Box<dyn FnMut(u64) + Send>,
) -> Result<Option<Digest>> {
    let (output, label) = (unpack.output, &unpack.output.label);
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let (sender, receiver) = mpsc::channel();
    let (followed, unpacked) = thread::scope(|scope| {
        let unpackers: Vec<_> = (0..threads)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || unpack.run(&sender))
            })
            .collect();
        drop(sender);
        let followed = Follower::new(output, unpack, whole, progress).run(&receiver);
        if followed.is_err() {
            output.stop.store(true, Ordering::Relaxed);
        }
        let crashed = |_| Err(damaged(format!("unpacking {label} ended before it was done")));
        let unpacked: Vec<_> =
            unpackers.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect();
        (followed, unpacked)
    });
    // A broken chunk is why the hash is missing: it is reported first.
    unpacked.into_iter().collect::<Result<()>>()?;
    followed
}

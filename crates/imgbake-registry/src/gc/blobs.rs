//! The second phase: blobs that nothing leads to are marked for deletion, and deleted when their time
//! is over.

use std::collections::BTreeMap;

use imgbake_types::{Algorithm, Digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::report::GcRequest;
use crate::Result;
use crate::files::{self, MAX_LIST, io_at, parse, read_bounded, remove, sync_dir};
use crate::reachable::Reachable;
use crate::store::{Store, list_json};

const FILE: &str = "condemned.json"; // as the first imgbake called it

/// Blobs that nothing leads to, each with the time at which that was first seen.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Marked {
    blobs: BTreeMap<Digest, Timestamp>,
}

/// What becomes of the blobs that nothing leads to. Numbers of blobs come with their bytes.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub(super) deleted: (usize, u64),
    pub(super) waiting: (usize, u64),
    /// Their time is over.
    due: Vec<Digest>,
    /// Their time is over, though names that go now led to them: nobody wants a grace period.
    due_at_once: Vec<Digest>,
    marked: Marked,
}

impl Sweep {
    /// Finds what nothing leads to after names are gone; `before` is what they led to. With `keep_all`
    /// nothing is deleted, however long it waited.
    pub(super) fn plan(
        store: &Store,
        before: &Reachable,
        after: &Reachable,
        request: &GcRequest,
        keep_all: bool,
    ) -> Result<Self> {
        let known = known(store);
        let mut sweep = Self::default();
        for (digest, size, written) in blobs(store)? {
            if after.contains_key(&digest) {
                continue;
            }
            // What was wanted until now waits from now on, whatever it had waited before that.
            let named = before.contains_key(&digest);
            let since = known.blobs.get(&digest).filter(|_| !named);
            let since = since.copied().unwrap_or(request.now);
            // What was written a moment ago may be about to get its name.
            let age = |time: Timestamp| request.now.duration_since(time);
            if !keep_all && age(since) >= request.grace && age(written) >= request.grace {
                add(&mut sweep.deleted, size);
                let due = if named { &mut sweep.due_at_once } else { &mut sweep.due };
                due.push(digest);
            } else {
                add(&mut sweep.waiting, size);
                sweep.marked.blobs.insert(digest, since);
            }
        }
        Ok(sweep)
    }

    /// Deletes what no name leads to even before any goes. The lock must be held.
    pub(super) fn delete_due(&mut self, store: &Store) -> Result<()> {
        delete(store, std::mem::take(&mut self.due))
    }

    /// Writes down what waits, and deletes the rest, once the names are gone: but not what is `in_use`.
    /// The lock must be held.
    pub(super) fn finish(mut self, store: &Store, in_use: &Reachable) -> Result<()> {
        files::write(&store.scratch(), &store.root().join(FILE), &list_json(&self.marked)?)?;
        sync_dir(store.root())?;
        self.due_at_once.retain(|digest| !in_use.contains_key(digest));
        delete(store, self.due_at_once)
    }
}

/// What was marked before. Where that cannot be read it is begun again: then blobs wait once more.
fn known(store: &Store) -> Marked {
    let path = store.root().join(FILE);
    let bytes = read_bounded(&path, MAX_LIST).ok().flatten();
    bytes.and_then(|bytes| parse(&bytes, path.as_str()).ok()).unwrap_or_default()
}

fn delete(store: &Store, blobs: Vec<Digest>) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    for digest in blobs {
        remove(&store.blobs.path(&digest))?;
    }
    sync_dir(&store.blobs.folder())
}

fn add((count, bytes): &mut (usize, u64), size: u64) {
    *count += 1;
    *bytes += size;
}

/// Every blob: its digest, its size, and when it was written.
fn blobs(store: &Store) -> Result<Vec<(Digest, u64, Timestamp)>> {
    let folder = store.blobs.folder();
    let mut found = Vec::new();
    for entry in folder.read_dir_utf8().map_err(io_at("read the folder", &folder))? {
        let entry = entry.map_err(io_at("read the folder", &folder))?;
        let name = format!("{}:{}", Algorithm::Sha256.name(), entry.file_name());
        // What is no blob is not imgbake's.
        let Ok(digest) = name.parse::<Digest>() else { continue };
        let metadata = entry.metadata().map_err(io_at("read", entry.path()))?;
        let written = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        found.push((digest, metadata.len(), written.unwrap_or(Timestamp::MIN)));
    }
    Ok(found)
}

//! The second phase: blobs that nothing leads to are condemned, and deleted when their time is over.

use std::collections::BTreeMap;

use imgbake_types::{Algorithm, Digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::GcRequest;
use crate::Result;
use crate::files::{self, io_at, parse, read_small, remove, sync_dir};
use crate::reach::Reached;
use crate::store::{Store, json};

/// Blobs that nothing leads to, each with the time at which that was first seen.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Condemned {
    blobs: BTreeMap<Digest, Timestamp>,
}

/// Numbers of blobs, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) deleted: (usize, u64),
    pub(super) waiting: (usize, u64),
}

/// Condemns and deletes. The lock must be held.
pub(super) fn sweep(store: &Store, reached: &Reached, request: &GcRequest) -> Result<Swept> {
    let path = store.root().join("condemned.json");
    // One that cannot be read is begun again: then blobs wait once more.
    let before: Condemned =
        read_small(&path)?.and_then(|bytes| parse(&bytes, path.as_str()).ok()).unwrap_or_default();
    let mut condemned = Condemned::default();
    let mut over = Vec::new();
    let mut swept = Swept::default();
    for (digest, size, written) in blobs(store)? {
        if reached.contains_key(&digest) {
            continue;
        }
        let since = before.blobs.get(&digest).copied().unwrap_or(request.now);
        // What was written a moment ago may be about to get its name.
        let age = |time: Timestamp| request.now.duration_since(time);
        if age(since) >= request.grace && age(written) >= request.grace {
            add(&mut swept.deleted, size);
            over.push(digest);
        } else {
            add(&mut swept.waiting, size);
            condemned.blobs.insert(digest, since);
        }
    }
    if !request.dry_run {
        for digest in &over {
            remove(&store.blobs.path(digest))?;
        }
        if !over.is_empty() {
            sync_dir(&store.blobs.folder())?;
        }
        files::write(&store.scratch(), &path, &json(&condemned)?)?;
        sync_dir(store.root())?;
    }
    Ok(swept)
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

//! What a change is about to bring in, written down before it does: `publishing/*.json`.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Digest;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::files::{io_at, parse, read_small, remove, sync_dir};
use crate::reachable::{Documents, Reachable};
use crate::store::{Lock, Store, json};

/// The blobs of one change.
#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    blobs: Vec<Digest>,
}

/// Writes an intent; durable when it returns. It holds until [`Store::end_intent`].
pub(crate) fn write(store: &Store, blobs: Vec<Digest>) -> Result<Utf8PathBuf> {
    let folder = store.scratch();
    let bytes = json(&Intent { blobs })?;
    let file = tempfile::Builder::new()
        .prefix("intent-")
        .suffix(".json")
        .tempfile_in(&folder)
        .map_err(io_at("make a file in", &folder))?;
    let path = Utf8PathBuf::from_path_buf(file.path().to_owned())
        .map_err(|path| crate::files::damaged(format!("{} is not UTF-8", path.display())))?;
    std::io::Write::write_all(&mut file.as_file(), &bytes).map_err(io_at("write", &path))?;
    file.as_file().sync_all().map_err(io_at("write", &path))?;
    sync_dir(&folder)?;
    file.keep().map_err(|error| io_at("keep", &path)(error.error))?;
    Ok(path)
}

/// Removes what dead changes left: the lock is held, so every one that is written down is dead.
/// Blobs that the index reaches stay.
pub(crate) fn sweep(store: &Store, _lock: &Lock) -> Result<()> {
    let folder = store.scratch();
    let Ok(entries) = folder.read_dir_utf8() else { return Ok(()) };
    let mut paths: Vec<Utf8PathBuf> =
        entries.flatten().map(camino::Utf8DirEntry::into_path).collect();
    // Intents go last: a sweep that is killed is done again.
    paths.sort_by_key(|path| path.extension() == Some("json"));
    if paths.is_empty() {
        return Ok(());
    }
    // Where a name's blobs cannot be read, nobody knows what may go: all stays.
    let (mut documents, mut reached) = (Documents::new(store), Reachable::new());
    let read = store.index().map(|index| documents.reach(index.manifests.iter(), &mut reached));
    if let Some(error) = read.as_ref().err().or_else(|| documents.unreadable().values().next()) {
        tracing::warn!(%error, "what killed changes left in {} stays: the registry is damaged", store.root());
        return Ok(());
    }
    for path in paths {
        discard(store, &path, &reached)?;
    }
    Ok(())
}

fn discard(store: &Store, path: &Utf8Path, reached: &Reachable) -> Result<()> {
    // One that cannot be read was cut short, so that nothing came after it.
    let intent = read_small(path).ok().flatten().and_then(|bytes| parse::<Intent>(&bytes, "").ok());
    for digest in intent.iter().flat_map(|intent| &intent.blobs) {
        if !reached.contains_key(digest) {
            remove(&store.blobs.path(digest))?;
        }
    }
    remove(path)
}

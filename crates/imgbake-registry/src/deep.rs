//! Reading everything again: each blob that a name leads to must be there and be what its name says.
//! A damaged one is told with the names that need it, and put back from another store where one has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use futures::StreamExt;
use imgbake_types::{Digest, Reference};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use crate::files::{damaged, io_at, sync_dir};
use crate::index::Tagged;
use crate::layout::Layout;
use crate::oci::Descriptor;
use crate::store::Store;
use crate::{Repository, Result, lease, reach, tags, versions};

/// Threads that read.
const READERS: usize = 2;

/// What reading everything again showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DeepReport {
    /// Names whose blobs were read.
    pub names: usize,
    /// Blobs that were read.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were not what their names say.
    pub damaged: Vec<Damage>,
}

impl DeepReport {
    /// Whether nothing is damaged any more.
    pub fn is_sound(&self) -> bool {
        self.damaged.iter().all(|damage| damage.repaired_from.is_some())
    }
}

/// A damaged blob.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Damage {
    /// The blob.
    pub digest: Digest,
    /// What is wrong with it.
    pub why: String,
    /// What needs it: versions and channels, `NAME:TAG`.
    pub breaks: Vec<String>,
    /// Where it was taken from again.
    pub repaired_from: Option<String>,
}

/// Another place that may have a blob.
pub trait Spare: Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// Writes a blob's bytes; `false` where it has none of that digest. The bytes are proved by the
    /// caller.
    ///
    /// # Errors
    /// The place cannot be read.
    fn copy(&self, digest: &Digest, size: u64, into: &mut dyn Write) -> Result<bool>;
}

impl Spare for Layout {
    fn name(&self) -> String {
        self.root().to_string()
    }

    fn copy(&self, digest: &Digest, _size: u64, into: &mut dyn Write) -> Result<bool> {
        let path = self.store().blobs.path(digest);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io_at("open", &path))?,
        };
        io::copy(&mut file, into).map_err(io_at("read", &path))?;
        Ok(true)
    }
}

impl Spare for Repository {
    fn name(&self) -> String {
        self.label()
    }

    /// Waits for the network: not on a thread that runs tasks.
    fn copy(&self, digest: &Digest, size: u64, into: &mut dyn Write) -> Result<bool> {
        Handle::current().block_on(async {
            if !self.has_blob(digest).await? {
                return Ok(false);
            }
            let mut stream = self.blob(digest, size, 0..size);
            while let Some(bytes) = stream.next().await {
                let path = Utf8Path::new("the copy of a blob");
                into.write_all(&bytes?).map_err(io_at("write", path))?;
            }
            Ok(true)
        })
    }
}

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Documents are read; of all else the size is compared.
    Presence,
    /// Every byte is read.
    Bytes,
}

/// How a reading is told and ended.
pub(crate) struct Watch<'a> {
    /// How much is read.
    pub(crate) depth: Depth,
    /// Is given bytes that were read, and bytes in all.
    pub(crate) progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Ends it early.
    pub(crate) stop: &'a AtomicBool,
}

/// A blob that shall be read.
struct Wanted {
    descriptor: Descriptor,
    breaks: BTreeSet<String>,
}

/// Reads all blobs of a reference's version, or of every name.
pub(crate) fn read(
    store: &Store,
    reference: Option<&Reference>,
    spares: &[Box<dyn Spare>],
    watch: &Watch<'_>,
) -> Result<DeepReport> {
    let index = store.index()?;
    let version = reference.map(|reference| versions::resolve(store, reference)).transpose()?;
    let _lease = version.as_ref().map(|version| lease::take(store, &version.digest)).transpose()?;
    let picked = |entry: &Tagged<'_>| {
        version.as_ref().is_none_or(|version| {
            entry.name == version.name
                && (entry.descriptor.digest == version.digest
                    || entry.tag.starts_with(&tags::referrers(&version.digest)))
        })
    };
    let names: Vec<Tagged<'_>> = index.tagged().filter(picked).collect();
    let mut wanted = BTreeMap::new();
    for entry in &names {
        gather(store, entry, &mut wanted);
    }
    let wanted: Vec<Wanted> = wanted.into_values().collect();
    let found = check_all(store, &wanted, watch)?;
    let mut report = DeepReport {
        names: names.len(),
        blobs: wanted.len(),
        bytes: wanted.iter().map(|wanted| wanted.descriptor.size).sum(),
        damaged: Vec::new(),
    };
    for (at, mut why) in found {
        let Wanted { descriptor, breaks } = &wanted[at];
        let repaired_from = repair(store, descriptor, spares, &mut why)?;
        report.damaged.push(Damage {
            digest: descriptor.digest.clone(),
            why,
            breaks: breaks.iter().cloned().collect(),
            repaired_from,
        });
    }
    Ok(report)
}

/// Everything that a name leads to. A manifest that cannot be read ends its branch: it is found damaged
/// itself.
fn gather(store: &Store, entry: &Tagged<'_>, wanted: &mut BTreeMap<Digest, Wanted>) {
    let label = match tags::channel_of_history(entry.tag) {
        Some(channel) => format!("the history of {}:{channel}", entry.name),
        None if entry.tag.starts_with("sha256-") => format!("the records of {}", entry.name),
        None => entry.label(),
    };
    let mut seen = BTreeSet::new();
    let mut open = vec![entry.descriptor.bare()];
    while let Some(descriptor) = open.pop() {
        if !seen.insert(descriptor.digest.clone()) {
            continue;
        }
        open.extend(reach::children(store, &descriptor).unwrap_or_default());
        let wanted = wanted
            .entry(descriptor.digest.clone())
            .or_insert_with(|| Wanted { descriptor, breaks: BTreeSet::new() });
        wanted.breaks.insert(label.clone());
    }
}

/// Reads each blob once; gives the places in `wanted` of those that are damaged, and why.
fn check_all(store: &Store, wanted: &[Wanted], watch: &Watch<'_>) -> Result<Vec<(usize, String)>> {
    let total = wanted.iter().map(|wanted| wanted.descriptor.size).sum();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let found = Mutex::new(Vec::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(Wanted { descriptor, .. }) = wanted.get(at) else { return Ok(()) };
            let seen = |bytes| {
                let before = done.fetch_add(bytes, Ordering::Relaxed);
                (watch.progress)(before + bytes, total);
                !watch.stop.load(Ordering::Relaxed)
            };
            let whole = watch.depth == Depth::Bytes || descriptor.media_type.ends_with("json");
            if let Some(why) = check(store, descriptor, whole, seen)? {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((at, why));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..READERS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(damaged("reading the registry again panicked")))
        })
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort();
    Ok(found)
}

/// What is wrong with a blob.
fn check(
    store: &Store,
    descriptor: &Descriptor,
    whole: bool,
    seen: impl Fn(u64) -> bool,
) -> Result<Option<String>> {
    let path = store.blobs.path(&descriptor.digest);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some("it is missing".to_owned()));
        }
        opened => opened.map_err(io_at("open", &path))?,
    };
    let size = file.metadata().map_err(io_at("read", &path))?.len();
    if size != descriptor.size {
        return Ok(Some(format!("it has {size} bytes, not {}", descriptor.size)));
    }
    if !whole {
        return Ok(None);
    }
    let found = match digest_of(&mut file, seen) {
        Ok(Some(found)) => found,
        Ok(None) => return Err(damaged("reading the registry again was stopped")),
        // A disk's bad sector is what this command is there to find.
        Err(error) => return Ok(Some(format!("it cannot be read: {error}"))),
    };
    let (_, digest) = found;
    Ok((digest != descriptor.digest).then(|| format!("its bytes are {digest}")))
}

/// A file's size and digest; `None` where `seen`, which is given each count of bytes, ends it.
fn digest_of(file: &mut File, seen: impl Fn(u64) -> bool) -> io::Result<Option<(u64, Digest)>> {
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Some((size, Digest::from_sha256(&sha256.finalize()))));
        }
        sha256.update(&buffer[..count]);
        size += count as u64;
        if !seen(count as u64) {
            return Ok(None);
        }
    }
}

/// Puts a blob back from the first place that has it whole; tells which. What keeps a place from helping
/// is added to why the blob is damaged.
fn repair(
    store: &Store,
    descriptor: &Descriptor,
    spares: &[Box<dyn Spare>],
    why: &mut String,
) -> Result<Option<String>> {
    let (digest, size) = (&descriptor.digest, descriptor.size);
    for spare in spares {
        let folder = store.scratch();
        let file =
            tempfile::NamedTempFile::new_in(&folder).map_err(io_at("make a file in", &folder))?;
        let copied = spare.copy(digest, size, &mut file.as_file());
        if let Err(error) = &copied {
            why.push_str("; ");
            why.push_str(&error.to_string());
        }
        if !copied.is_ok_and(|there| there) || !is_whole(&file, descriptor)? {
            continue;
        }
        let path = store.blobs.path(digest);
        let _lock = store.lock()?;
        file.as_file().sync_all().map_err(io_at("write", &path))?;
        file.persist(&path).map_err(|error| io_at("write", &path)(error.error))?;
        sync_dir(&store.blobs.folder())?;
        return Ok(Some(spare.name()));
    }
    Ok(None)
}

fn is_whole(file: &tempfile::NamedTempFile, descriptor: &Descriptor) -> Result<bool> {
    let path = Utf8Path::new("the copy of a blob");
    let mut file = file.reopen().map_err(io_at("open", path))?;
    let found = digest_of(&mut file, |_| true).map_err(io_at("read", path))?;
    Ok(found == Some((descriptor.size, descriptor.digest.clone())))
}

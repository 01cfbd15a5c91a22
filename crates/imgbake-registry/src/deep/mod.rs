//! Reading everything again: each blob that a name leads to must be there and be what its name says.
//! A damaged one is told with the names that need it, and put back from another store where one has it; a
//! pack is also put together again from chunks that are elsewhere.

mod check;
mod mend;
mod pack;
mod spare;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8PathBuf;
use imgbake_types::{Digest, Reference};
use serde::Serialize;

use crate::files::damaged;
use crate::index::Tagged;
use crate::oci::Descriptor;
use crate::seed::SeedDisk;
use crate::store::Store;
use crate::{Result, lease, reach, tags, versions};

pub use spare::Spare;

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

impl Damage {
    /// Adds what keeps it from being mended to why it is damaged.
    fn also(&mut self, words: &str) {
        self.why.push_str("; ");
        self.why.push_str(words);
    }
}

/// Where damaged blobs may be had from again.
#[derive(Default)]
pub struct Repair {
    /// Other places that have whole blobs, in the order in which they are asked.
    pub spares: Vec<Box<dyn Spare>>,
    /// Disks at hand, raw or qcow2, whose bytes may be those of damaged packs.
    pub seeds: Vec<Utf8PathBuf>,
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

impl Watch<'_> {
    /// An error once it shall end.
    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(damaged("reading the registry again was stopped"));
        }
        Ok(())
    }
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
    repair: &Repair,
    watch: &Watch<'_>,
) -> Result<DeepReport> {
    for seed in &repair.seeds {
        SeedDisk::open(seed)
            .map_err(|error| error.help("a seed is a raw or qcow2 disk without a backing file"))?;
    }
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
    let found = check::all(store, &wanted, watch)?;
    let damage = |(at, why): (usize, String)| {
        let Wanted { descriptor, breaks } = &wanted[at];
        let breaks = breaks.iter().cloned().collect();
        let damage = Damage { digest: descriptor.digest.clone(), why, breaks, repaired_from: None };
        (descriptor, damage)
    };
    let mut damaged: Vec<_> = found.into_iter().map(damage).collect();
    for (descriptor, damage) in &mut damaged {
        spare::repair(store, descriptor, &repair.spares, damage)?;
    }
    // Documents are back by now, so far as they can be: they say what is in the packs.
    mend::packs(store, &mut damaged, &repair.seeds, watch)?;
    Ok(DeepReport {
        names: names.len(),
        blobs: wanted.len(),
        bytes: wanted.iter().map(|wanted| wanted.descriptor.size).sum(),
        damaged: damaged.into_iter().map(|(_, damage)| damage).collect(),
    })
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

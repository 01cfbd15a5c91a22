//! Reading everything again: each blob that a name leads to must be there and be what its name says.
//! A damaged one is reported with the names that need it, and put back from another store where one has it; a
//! pack is also put together again from chunks that are elsewhere.

mod check;
mod pack;
mod rebuild;
mod repair;
mod report;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use imgbake_types::{Digest, Reference};

use crate::index::Tagged;
use crate::reachable::{self, Child};
use crate::read_blobs::ReadBlobs;
use crate::seed::SeedDisk;
use crate::store::Store;
use crate::{Result, lease, tags, versions};

pub use report::{Damage, DeepReport};
pub use watch::Depth;
use watch::Wanted;
pub(crate) use watch::Watch;

/// Where damaged blobs may be had from again.
#[derive(Default)]
pub struct Repair {
    /// Other stores that have whole blobs, in the order in which they are asked.
    pub sources: Vec<Box<dyn ReadBlobs>>,
    /// Disks at hand, raw or qcow2, whose bytes may be those of damaged packs.
    pub seeds: Vec<Utf8PathBuf>,
}

/// Reads all blobs of a reference's version, or of every name.
pub(crate) fn read(
    store: &Store,
    reference: Option<&Reference>,
    Repair { sources, seeds }: &Repair,
    watch: &Watch<'_>,
) -> Result<DeepReport> {
    for seed in seeds {
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
        repair::repair(store, descriptor, sources, damage)?;
    }
    // Documents are back by now, so far as they can be: they say what is in the packs.
    rebuild::packs(store, &mut damaged, seeds, watch)?;
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
    let mut open = vec![Child::document(entry.descriptor)];
    while let Some(child) = open.pop() {
        if !seen.insert(child.descriptor.digest.clone()) {
            continue;
        }
        open.extend(reachable::children(store, &child).unwrap_or_default());
        let descriptor = child.descriptor;
        let wanted = wanted
            .entry(descriptor.digest.clone())
            .or_insert_with(|| Wanted { descriptor, breaks: BTreeSet::new() });
        wanted.breaks.insert(label.clone());
    }
}

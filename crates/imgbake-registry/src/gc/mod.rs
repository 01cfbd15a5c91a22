//! Collecting what no name leads to any more.
//!
//! Two phases, each under the layout's lock. First versions that the rules of `[retention]` let go lose
//! their names, and blobs that no name leads to are condemned: `condemned.json` says since when. A blob
//! that was condemned longer ago than the grace period, and that still no name and no lease leads to, is
//! deleted. What a running build or pull found a moment before is therefore there until it is done.

mod blobs;
mod clock;
mod costs;
mod dead;
pub(crate) mod hold;
mod names;
pub(crate) mod remove;
mod report;
mod retention;

use std::collections::{BTreeMap, BTreeSet};

use imgbake_types::Digest;
use imgbake_types::record::{ListedVersion, UnreadableVersion, VersionView};

pub use clock::Clock;
pub use costs::VersionCost;
pub use remove::RemovedVersion;
pub use report::{GcReport, GcRequest};
pub use retention::Retention;

use crate::files::{MAX_JSON, read_small};
use crate::index::Index;
use crate::oci::Descriptor;
use crate::problem::{problem_of, with_causes};
use crate::reachable::{self, Documents, Reachable};
use crate::retired_names::RetiredNames;
use crate::store::Store;
use crate::{Result, channels, intent, lease, tags, versions};
use blobs::Sweep;
use retention::{ChannelFacts, Facts};

/// Collects.
pub(crate) fn gc(store: &Store, request: &GcRequest) -> Result<GcReport> {
    let lock = if request.dry_run { store.lock_to_read()? } else { Some(store.lock()?) };
    request.clock.iter().try_for_each(|now| clock::check(store, now))?;
    if let Some(lock) = lock.as_ref().filter(|_| !request.dry_run) {
        store.ensure_folders()?;
        intent::sweep(store, lock)?;
    }
    let mut index = store.index()?;
    let (versions, unreadable) = split(versions::list(store, &index, None));
    let pulled = lease::held(store)?;
    let mut documents = Documents::new(store);
    let named = named_by(&mut documents, &index, &unreadable);
    let kept = decide(store, &index, request, &versions, &pulled, &named);
    let mut costs = costs::of(&mut documents, &index, &versions, &unreadable, &kept);
    let before = reached(&mut documents, &index, &pulled);
    let gone: Vec<&VersionView> =
        versions.iter().filter(|version| !kept.contains_key(&version.digest)).collect();
    let going = gone.iter().map(|version| (version.name.as_str(), version.version.as_str()));
    names::untag(&mut documents, &mut index, going);
    let after = reached(&mut documents, &index, &pulled);
    let blocked_by: Vec<String> =
        documents.unreadable().values().map(|error| with_causes(error)).collect();
    let sweep = Sweep::plan(store, &before, &after, request, !blocked_by.is_empty())?;
    let mut report = GcReport {
        dry_run: request.dry_run,
        versions: Vec::new(),
        deleted_blobs: sweep.deleted.0,
        deleted_bytes: sweep.deleted.1,
        waiting_blobs: sweep.waiting.0,
        waiting_bytes: sweep.waiting.1,
        kept_bytes: after.values().sum(),
        dead_bytes: None,
        blocked_by,
    };
    if request.dry_run {
        // Tables are many bytes, and nobody needs to wait for their reading.
        drop(lock);
        if unreadable.is_empty() {
            report.dead_bytes = dead::measure(store, &after, &versions, &mut costs);
        }
    } else {
        apply(store, &index, &gone, sweep)?;
        Clock::read().iter().try_for_each(|now| clock::remember(store, now))?;
    }
    report.versions = costs;
    Ok(report)
}

/// Versions that can be read, and the others.
pub(super) fn split(listed: Vec<ListedVersion>) -> (Vec<VersionView>, Vec<UnreadableVersion>) {
    let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
    for version in listed {
        match version {
            ListedVersion::Readable(version) => readable.push(*version),
            ListedVersion::Unreadable(version) => unreadable.push(version),
        }
    }
    (readable, unreadable)
}

/// The digests that the documents of unreadable versions hold, each with the version: one may be the
/// parent that a newer imgbake's version was built on.
pub(super) fn named_by(
    documents: &mut Documents<'_>,
    index: &Index,
    unreadable: &[UnreadableVersion],
) -> BTreeMap<Digest, String> {
    let mut named = BTreeMap::new();
    for version in unreadable {
        let entry = index.find(&version.name, version.version.as_str());
        let mut reached = Reachable::new();
        documents.reach(entry.map(|entry| entry.descriptor), &mut reached);
        let small = reached.iter().filter(|(_, size)| **size <= MAX_JSON).map(|(digest, _)| digest);
        for digest in small {
            let bytes = read_small(&documents.store().blobs.path(digest)).ok().flatten();
            for mentioned in bytes.iter().flat_map(|bytes| reachable::mentions(bytes)) {
                let label = format!("{}:{}", version.name, version.version);
                named.entry(mentioned).or_insert(label);
            }
        }
    }
    named
}

/// What names and running pulls lead to.
fn reached(documents: &mut Documents<'_>, index: &Index, pulled: &BTreeSet<Digest>) -> Reachable {
    let mut reached = Reachable::new();
    let pulled: Vec<Descriptor> =
        pulled.iter().filter_map(|it| reachable::root(documents.store(), it)).collect();
    let foreign = reachable::foreign(documents.store(), index);
    documents.reach(index.manifests.iter().chain(&pulled).chain(&foreign), &mut reached);
    reached
}

/// Does what is decided. A kill at any moment leaves names whose blobs are all there. The lock must be
/// held.
fn apply(store: &Store, index: &Index, gone: &[&VersionView], mut sweep: Sweep) -> Result<()> {
    // What is due goes first: on a full file system there is room for the rest then.
    sweep.delete_due(store)?;
    if !gone.is_empty() {
        let mut retired = RetiredNames::read(store)?;
        for version in gone {
            retired.add(&version.name, version.version.as_str(), &version.digest);
        }
        retired.write(store)?;
        store.write_index(index)?;
    }
    // Whoever took a lease meanwhile may have read the old names.
    let pulled = lease::held(store)?;
    sweep.finish(store, &reached(&mut Documents::new(store), &Index::default(), &pulled))
}

/// Why each version that stays does.
fn decide(
    store: &Store,
    index: &Index,
    request: &GcRequest,
    versions: &[VersionView],
    pulled: &BTreeSet<Digest>,
    named: &BTreeMap<Digest, String>,
) -> BTreeMap<Digest, String> {
    let mut channels = Vec::new();
    let mut unreadable = BTreeMap::new();
    for entry in index.tagged() {
        let Some(channel) = tags::channel_of_history(entry.tag) else { continue };
        let label = format!("{}:{channel}", entry.name);
        match channels::moves(store, &label, entry.descriptor) {
            Ok(moves) => {
                let moves = moves.into_iter().map(|recorded| recorded.entry).collect();
                let (image, channel) = (entry.name.to_owned(), channel.to_owned());
                channels.push(ChannelFacts { image, channel, moves });
            }
            Err(error) => {
                let why = format!("the history of {label} {}", problem_of(&error));
                unreadable.insert(entry.name.to_owned(), why);
            }
        }
    }
    let facts = Facts {
        versions,
        channels: &channels,
        held: &hold::held(index),
        pulled,
        unreadable: &unreadable,
        named,
        grace: request.grace,
        now: request.now,
    };
    retention::kept(&request.retention, &facts)
}

//! Collecting what no name leads to any more.
//!
//! Two phases, each under the layout's lock. First versions that the rules of `[retention]` let go lose
//! their names, and blobs that no name leads to are condemned: `condemned.json` says since when. A blob
//! that was condemned longer ago than the grace period, and that still no name and no lease leads to, is
//! deleted. What a running build or pull found a moment before is therefore there until it is done.

mod blobs;
mod costs;
mod dead;
pub(crate) mod hold;
mod names;
mod retention;

use std::collections::{BTreeMap, BTreeSet};

use imgbake_types::Digest;
use imgbake_types::record::VersionView;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use costs::VersionCost;
pub use retention::Retention;

use crate::given::Given;
use crate::index::Index;
use crate::oci::Descriptor;
use crate::reach::{self, Documents, Reached};
use crate::store::Store;
use crate::{Result, channels, intent, lease, tags, versions};
use blobs::Sweep;
use retention::{ChannelFacts, Facts};

/// What is asked of a collection.
#[derive(Debug, Clone)]
pub struct GcRequest {
    /// Which versions may go.
    pub retention: Retention,
    /// How long what nothing leads to is kept.
    pub grace: SignedDuration,
    /// Nothing is changed: what would be done is told.
    pub dry_run: bool,
    /// The present.
    pub now: Timestamp,
}

impl GcRequest {
    /// The grace period where nobody says: longer than any build or pull.
    pub const GRACE: SignedDuration = SignedDuration::from_hours(24);
}

/// What a collection did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GcReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Every version that there was, oldest first.
    pub versions: Vec<VersionCost>,
    /// Blobs that were deleted.
    pub deleted_blobs: usize,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Blobs that nothing leads to and that wait for the grace period's end.
    pub waiting_blobs: usize,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Bytes of all that stays.
    pub kept_bytes: u64,
    /// Of these, bytes of packs that no version's disk uses any more: known after a dry run.
    pub dead_bytes: Option<u64>,
}

/// Collects.
pub(crate) fn gc(store: &Store, request: &GcRequest) -> Result<GcReport> {
    let lock = store.lock()?;
    if !request.dry_run {
        store.ensure_folders()?;
        intent::sweep(store, &lock)?;
    }
    let mut index = store.index()?;
    let versions = versions::list(store, &index, None)?;
    let pulled = lease::held(store)?;
    let kept = decide(store, &index, request, &versions, &pulled)?;
    let mut documents = Documents::new(store);
    let mut costs = costs::of(&mut documents, &index, &versions, &kept)?;
    let before = reached(&mut documents, &index, &pulled)?;
    let gone: Vec<&VersionView> =
        versions.iter().filter(|version| !kept.contains_key(&version.digest)).collect();
    names::untag(&mut documents, &mut index, &gone)?;
    let after = reached(&mut documents, &index, &pulled)?;
    let sweep = Sweep::plan(store, &before, &after, request)?;
    let mut report = GcReport {
        dry_run: request.dry_run,
        versions: Vec::new(),
        deleted_blobs: sweep.deleted.0,
        deleted_bytes: sweep.deleted.1,
        waiting_blobs: sweep.waiting.0,
        waiting_bytes: sweep.waiting.1,
        kept_bytes: after.values().sum(),
        dead_bytes: None,
    };
    if request.dry_run {
        // Tables are many bytes, and nobody needs to wait for their reading.
        drop(lock);
        report.dead_bytes = dead::tell(store, &after, &versions, &mut costs);
    } else {
        apply(store, &index, &gone, sweep)?;
    }
    report.versions = costs;
    Ok(report)
}

/// What names and running pulls lead to.
fn reached(
    documents: &mut Documents<'_>,
    index: &Index,
    pulled: &BTreeSet<Digest>,
) -> Result<Reached> {
    let mut reached = Reached::new();
    let pulled: Vec<Descriptor> =
        pulled.iter().filter_map(|it| reach::root(documents.store(), it)).collect();
    documents.reach(index.manifests.iter().chain(&pulled), &mut reached)?;
    Ok(reached)
}

/// Does what is decided. A kill at any moment leaves names whose blobs are all there. The lock must be
/// held.
fn apply(store: &Store, index: &Index, gone: &[&VersionView], mut sweep: Sweep) -> Result<()> {
    // What is due goes first: on a full file system there is room for the rest then.
    sweep.delete_due(store)?;
    if !gone.is_empty() {
        let mut given = Given::read(store)?;
        for version in gone {
            given.add(&version.name, version.version.as_str(), &version.digest);
        }
        given.write(store)?;
        store.write_index(index)?;
    }
    // Whoever took a lease meanwhile may have read the old names.
    let pulled = lease::held(store)?;
    sweep.finish(store, &reached(&mut Documents::new(store), &Index::default(), &pulled)?)
}

/// Why each version that stays does.
fn decide(
    store: &Store,
    index: &Index,
    request: &GcRequest,
    versions: &[VersionView],
    pulled: &BTreeSet<Digest>,
) -> Result<BTreeMap<Digest, String>> {
    let mut channels = Vec::new();
    for entry in index.tagged() {
        let Some(channel) = tags::channel_of_history(entry.tag) else { continue };
        let moves = channels::moves(store, &format!("{}:{channel}", entry.name), entry.descriptor)?;
        let (image, channel) = (entry.name.to_owned(), channel.to_owned());
        channels.push(ChannelFacts { image, channel, moves });
    }
    let facts = Facts {
        versions,
        channels: &channels,
        held: &hold::held(index),
        pulled,
        grace: request.grace,
        now: request.now,
    };
    Ok(retention::kept(&request.retention, &facts))
}

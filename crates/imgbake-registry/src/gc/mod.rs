//! Collecting what no name leads to any more.
//!
//! Two phases, each under the layout's lock. First versions that the rules of `[retention]` let go lose
//! their names, and blobs that no name leads to are condemned: `condemned.json` says since when. A blob
//! that was condemned longer ago than the grace period, and that still no name and no lease leads to, is
//! deleted. What a running build or pull found a moment before is therefore there until it is done.

mod blobs;
pub(crate) mod hold;
mod retention;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use imgbake_types::record::VersionView;
use imgbake_types::{Digest, VersionName};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use retention::Retention;

use crate::index::{Index, Names};
use crate::oci::Descriptor;
use crate::reach::{self, Documents, Reached};
use crate::store::Store;
use crate::{Result, channels, intent, lease, tags, versions};
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

/// What a version costs, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionCost {
    /// The image's name.
    pub name: String,
    /// The version's name.
    pub version: VersionName,
    /// The version's digest.
    pub digest: Digest,
    /// Bytes of all blobs that it needs.
    pub bytes: u64,
    /// Bytes that no other version needs: what its going frees.
    pub own_bytes: u64,
    /// Whether it stays.
    pub kept: bool,
    /// Why it stays; what let it go.
    pub reason: String,
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
}

/// Collects.
pub(crate) fn gc(store: &Store, request: &GcRequest) -> Result<GcReport> {
    let lock = store.lock()?;
    if !request.dry_run {
        store.ensure_folders()?;
        intent::sweep(store, &lock)?;
    }
    let mut index = store.index()?;
    let versions = versions::list(store, None)?;
    let pulled = lease::held(store)?;
    let kept = decide(store, &index, request, &versions, &pulled)?;
    let mut documents = Documents::new(store);
    let costs = costs(&mut documents, &index, &versions, &kept)?;
    if untag(&mut index, &versions, &kept) && !request.dry_run {
        store.write_index(&index)?;
    }
    let mut reached = Reached::new();
    let pulled: Vec<Descriptor> = pulled.iter().filter_map(|it| reach::root(store, it)).collect();
    documents.reach(index.manifests.iter().chain(&pulled), &mut reached)?;
    let swept = blobs::sweep(store, &reached, request)?;
    Ok(GcReport {
        dry_run: request.dry_run,
        versions: costs,
        deleted_blobs: swept.deleted.0,
        deleted_bytes: swept.deleted.1,
        waiting_blobs: swept.waiting.0,
        waiting_bytes: swept.waiting.1,
        kept_bytes: reached.values().sum(),
    })
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

/// What each version needs, and what only it needs.
fn costs(
    documents: &mut Documents<'_>,
    index: &Index,
    versions: &[VersionView],
    kept: &BTreeMap<Digest, String>,
) -> Result<Vec<VersionCost>> {
    let names = Names::of(index);
    let mut needs: Vec<Reached> = Vec::with_capacity(versions.len());
    let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
    for version in versions {
        let mut reached = Reached::new();
        let tag = names.find(&version.name, version.version.as_str());
        documents.reach(tag.map(|entry| entry.descriptor), &mut reached)?;
        for digest in reached.keys() {
            *users.entry(digest.clone()).or_default() += 1;
        }
        needs.push(reached);
    }
    let cost = |(version, reached): (&VersionView, &Reached)| {
        let own = reached.iter().filter(|(digest, _)| users.get(*digest) == Some(&1));
        let reason = kept.get(&version.digest);
        VersionCost {
            name: version.name.clone(),
            version: version.version.clone(),
            digest: version.digest.clone(),
            bytes: reached.values().sum(),
            own_bytes: own.map(|(_, size)| size).sum(),
            kept: reason.is_some(),
            reason: reason.cloned().unwrap_or_else(|| "no rule of [retention] keeps it".to_owned()),
        }
    };
    Ok(versions.iter().zip(&needs).map(cost).collect())
}

/// Takes the names away from versions that do not stay; tells whether there was one.
fn untag(index: &mut Index, versions: &[VersionView], kept: &BTreeMap<Digest, String>) -> bool {
    let mut gone: HashMap<&str, HashSet<String>> = HashMap::new();
    for version in versions.iter().filter(|version| !kept.contains_key(&version.digest)) {
        let tags = [version.version.to_string(), tags::referrers(&version.digest)];
        gone.entry(&version.name).or_default().extend(tags);
    }
    index.remove(|name, tag| {
        let tag = tags::list_of(tag).unwrap_or(tag);
        gone.get(name).is_some_and(|tags| tags.contains(tag))
    });
    !gone.is_empty()
}

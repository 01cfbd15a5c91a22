//! What each version costs.

use std::collections::{BTreeMap, HashMap};

use imgbake_types::record::{UnreadableVersion, VersionView};
use imgbake_types::{Digest, VersionName};
use serde::Serialize;

use crate::index::{Index, Names};
use crate::reachable::{Documents, Reachable};

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
    /// Bytes of its packs that no version which stays uses any more: known after a dry run, of versions
    /// that stay.
    pub dead_bytes: Option<u64>,
    /// Whether it stays.
    pub kept: bool,
    /// Why it stays; what let it go.
    pub reason: String,
}

/// What each version needs, and what only it needs. Those that cannot be read come last, and stay.
pub(super) fn of(
    documents: &mut Documents<'_>,
    index: &Index,
    versions: &[VersionView],
    unreadable: &[UnreadableVersion],
    kept: &BTreeMap<Digest, String>,
) -> Vec<VersionCost> {
    let names = Names::of(index);
    let mut needs = |name: &str, version: &VersionName| {
        let mut reached = Reachable::new();
        let tag = names.find(name, version.as_str());
        documents.reach(tag.map(|entry| entry.descriptor), &mut reached);
        reached
    };
    let mut all: Vec<(VersionCost, Reachable)> = Vec::with_capacity(versions.len());
    for version in versions {
        let needs = needs(&version.name, &version.version);
        let reason = kept.get(&version.digest).cloned();
        all.push((cost(&version.name, &version.version, &version.digest, reason), needs));
    }
    for version in unreadable {
        let needs = needs(&version.name, &version.version);
        let reason = Some(version.problem.to_string());
        all.push((cost(&version.name, &version.version, &version.digest, reason), needs));
    }
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    for digest in all.iter().flat_map(|(_, needs)| needs.keys()) {
        *users.entry(digest).or_default() += 1;
    }
    let bytes = all.iter().map(|(_, needs)| {
        let own = needs.iter().filter(|(digest, _)| users.get(*digest) == Some(&1));
        (needs.values().sum(), own.map(|(_, size)| size).sum())
    });
    let bytes: Vec<(u64, u64)> = bytes.collect();
    let costs = all.into_iter().zip(bytes);
    costs.map(|((cost, _), (bytes, own_bytes))| VersionCost { bytes, own_bytes, ..cost }).collect()
}

/// A version before its bytes are counted.
fn cost(name: &str, version: &VersionName, digest: &Digest, reason: Option<String>) -> VersionCost {
    VersionCost {
        name: name.to_owned(),
        version: version.clone(),
        digest: digest.clone(),
        bytes: 0,
        own_bytes: 0,
        dead_bytes: None,
        kept: reason.is_some(),
        reason: reason.unwrap_or_else(|| "no rule of [retention] keeps it".to_owned()),
    }
}

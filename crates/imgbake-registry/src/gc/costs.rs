//! What each version costs.

use std::collections::{BTreeMap, HashMap};

use imgbake_types::record::VersionView;
use imgbake_types::{Digest, VersionName};
use serde::Serialize;

use crate::Result;
use crate::index::{Index, Names};
use crate::reach::{Documents, Reached};

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

/// What each version needs, and what only it needs.
pub(super) fn of(
    documents: &mut Documents<'_>,
    index: &Index,
    versions: &[VersionView],
    kept: &BTreeMap<Digest, String>,
) -> Result<Vec<VersionCost>> {
    let names = Names::of(index);
    let mut needs: Vec<Reached> = Vec::with_capacity(versions.len());
    for version in versions {
        let mut reached = Reached::new();
        let tag = names.find(&version.name, version.version.as_str());
        documents.reach(tag.map(|entry| entry.descriptor), &mut reached)?;
        needs.push(reached);
    }
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    for digest in needs.iter().flat_map(Reached::keys) {
        *users.entry(digest).or_default() += 1;
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
            dead_bytes: None,
            kept: reason.is_some(),
            reason: reason.cloned().unwrap_or_else(|| "no rule of [retention] keeps it".to_owned()),
        }
    };
    Ok(versions.iter().zip(&needs).map(cost).collect())
}

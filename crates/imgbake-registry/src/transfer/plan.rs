//! Everything that a copy moves, known before the first byte is.

use std::collections::{BTreeMap, BTreeSet};

use imgbake_oci::RawManifest;
use imgbake_types::Digest;

use super::signed::Signed;
use crate::blob::Blob;

/// A manifest that is moved.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) manifest: RawManifest,
    /// What it refers to, where it is moved for that.
    pub(crate) subject: Option<Digest>,
    /// The index that leads to it, where one does.
    pub(crate) index: Option<Digest>,
}

/// What is moved.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The one that gets the tag.
    pub(crate) root: RawManifest,
    /// Each comes after those it leads to; the root comes after all of its own.
    pub(crate) manifests: Vec<Planned>,
    /// Those of the manifests that have tags of cosign's.
    pub(crate) signed: Vec<Signed>,
    /// What the manifests lead to, each once.
    pub(crate) blobs: BTreeMap<Digest, Blob>,
    /// The version's name that the root carries.
    pub(crate) version: Option<String>,
}

impl Plan {
    /// Bytes of all blobs.
    pub(crate) fn bytes(&self) -> u64 {
        self.blobs.values().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }

    /// How many of the manifests say something of others.
    pub(crate) fn referrers(&self) -> usize {
        let signed: BTreeSet<_> = self.signed.iter().map(|one| &one.manifest.digest).collect();
        let refers = |planned: &&Planned| {
            planned.subject.is_some() || signed.contains(&planned.manifest.digest)
        };
        self.manifests.iter().filter(refers).count()
    }
}

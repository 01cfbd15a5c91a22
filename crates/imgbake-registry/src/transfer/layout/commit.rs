//! All of a copy comes into the layout at once: one change, one lock, one intent.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_build::evidence::Origin;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::RawManifest;
use imgbake_oci::referrers::describe;
use imgbake_types::Digest;
use jiff::Timestamp;

use crate::blob::Blob;
use crate::change::Change;
use crate::files::{damaged, read_small};
use crate::index::Index;
use crate::oci::{CREATED, Descriptor};
use crate::retired_names::RetiredNames;
use crate::store::Store;
use crate::transfer::plan::Plan;
use crate::transfer::signed::{Fate, Signed, Stayed};
use crate::{Result, evidence, tags};

/// What a copy brings in.
pub(super) struct Commit {
    name: String,
    tag: String,
    root: RawManifest,
    manifests: Vec<RawManifest>,
    /// What refers to each of them.
    referrers: BTreeMap<Digest, Vec<Descriptor>>,
    signed: Vec<Signed>,
    /// All that must be there.
    blobs: Vec<Blob>,
    /// What of it came with the copy.
    come: BTreeMap<Digest, (u64, Utf8PathBuf)>,
}

impl Commit {
    pub(super) fn new(
        name: &str,
        tag: &str,
        plan: &Plan,
        come: BTreeMap<Digest, (u64, Utf8PathBuf)>,
    ) -> Result<Self> {
        let mut referrers: BTreeMap<Digest, Vec<Descriptor>> = BTreeMap::new();
        for planned in &plan.manifests {
            if let Some(subject) = &planned.subject {
                let mut entry = describe(&planned.manifest)?.1;
                evidence::mark(&mut entry, Origin::Copied);
                referrers.entry(subject.clone()).or_default().push(entry);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            tag: tag.to_owned(),
            root: plan.root.clone(),
            manifests: plan.manifests.iter().map(|planned| planned.manifest.clone()).collect(),
            referrers,
            signed: plan.signed.clone(),
            blobs: plan.blobs.values().cloned().collect(),
            come,
        })
    }

    /// Makes the change; durable when it returns. Gives the tags of cosign's that stay as they were.
    pub(super) fn make(self, store: &Store) -> Result<Vec<Stayed>> {
        let mut change = Change::begin(store)?;
        refuse_other(store, &change.index, (&self.name, &self.tag), &self.root.digest)?;
        for blob in &self.blobs {
            let there = store.blobs.path(&blob.digest).exists();
            match self.come.get(&blob.digest) {
                Some((size, path)) => change.moved(&blob.digest, *size, path),
                None if there => {}
                None => {
                    let what = format!("the blob {} was taken away while others came", blob.digest);
                    return Err(damaged(what).help("copy again"));
                }
            }
        }
        for manifest in &self.manifests {
            change.raw_manifest(&manifest.bytes);
        }
        for (subject, entries) in &self.referrers {
            self.attach(&mut change, store, subject, entries)?;
        }
        let stayed = self.sign(&mut change, store)?;
        change.index.set(&self.name, &self.tag, entry(&self.root)?);
        change.commit()?;
        Ok(stayed)
    }

    /// Points cosign's tags at what came, where nothing that they have gets lost.
    fn sign(&self, change: &mut Change<'_>, store: &Store) -> Result<Vec<Stayed>> {
        let mut stayed = Vec::new();
        for signed in &self.signed {
            let there = change.index.find(&self.name, &signed.tag);
            let there = there.map(|there| &there.descriptor.digest);
            let bytes = there.map(|digest| read_small(&store.blobs.path(digest))).transpose()?;
            let bytes = bytes.flatten().unwrap_or_default();
            match signed.fate(there.map(|digest| (digest, &bytes[..]))) {
                Fate::Has => {}
                Fate::Stays(left) => stayed.push(left),
                Fate::Moves => change.index.set(&self.name, &signed.tag, entry(&signed.manifest)?),
            }
        }
        Ok(stayed)
    }

    /// Adds entries to the list of a subject, the newest last.
    fn attach(
        &self,
        change: &mut Change<'_>,
        store: &Store,
        subject: &Digest,
        entries: &[Descriptor],
    ) -> Result<()> {
        let tag = tags::referrers(subject);
        let mut list: Index = match change.index.find(&self.name, &tag) {
            None => Index::default(),
            Some(known) => store.blobs.json(known.descriptor, &known.label())?,
        };
        let before = list.manifests.len();
        for entry in entries {
            if !list.manifests.iter().any(|known| known.digest == entry.digest) {
                list.manifests.push(entry.clone());
            }
        }
        if list.manifests.len() > before {
            list.manifests.sort_by_key(created);
            let list = change.nested_index(&list)?;
            change.index.set(&self.name, &tag, list);
        }
        Ok(())
    }
}

/// What `index.json` says of a manifest.
fn entry(manifest: &RawManifest) -> Result<Descriptor> {
    let mut descriptor = describe(manifest)?.1;
    descriptor.annotations.clear();
    Ok(descriptor)
}

fn created(entry: &Descriptor) -> Option<Timestamp> {
    entry.annotations.get(CREATED)?.parse().ok()
}

/// Refuses a tag that names something else, or that named it.
pub(super) fn refuse_other(
    store: &Store,
    index: &Index,
    (name, tag): (&str, &str),
    digest: &Digest,
) -> Result<()> {
    let retired = RetiredNames::read(store)?;
    let (why, known) = match index.find(name, tag) {
        Some(entry) => ("exists already", Some(&entry.descriptor.digest)),
        None => ("was a version that gc took away", retired.find(name, tag)),
    };
    let Some(known) = known.filter(|known| *known != digest) else { return Ok(()) };
    let what = format!(
        "{name}:{tag} {why}, and what a version names never changes: it is {}, not {}",
        known.short(),
        digest.short()
    );
    Err(BuildError::new(BuildErrorKind::Refused, what))
}

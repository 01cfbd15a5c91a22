//! Which blobs a name leads to: index → manifests → config, layers and the record before a channel's
//! move. A `subject` is not followed: what speaks of a version does not keep it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use imgbake_types::Digest;

use crate::Result;
use crate::files::read_small;
use crate::index::Index;
use crate::oci::{Descriptor, INDEX, MANIFEST, Manifest, PREVIOUS};
use crate::remote::manifests::{DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES};
use crate::store::Store;

/// Blobs that were reached, each with its size as its descriptor states it.
pub(crate) type Reached = BTreeMap<Digest, u64>;

/// Every blob that all of an index's names lead to.
pub(crate) fn all(store: &Store, index: &Index) -> Result<Reached> {
    let mut reached = Reached::new();
    Documents::new(store).reach(&index.manifests, &mut reached)?;
    Ok(reached)
}

/// What manifests and indexes name, each of them read once.
pub(crate) struct Documents<'a> {
    store: &'a Store,
    read: HashMap<Digest, Vec<Descriptor>>,
}

impl<'a> Documents<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, read: HashMap::new() }
    }

    /// Where they are read.
    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Adds every blob that some descriptors lead to. What was reached before is not walked again.
    pub(crate) fn reach<'d>(
        &mut self,
        roots: impl IntoIterator<Item = &'d Descriptor>,
        reached: &mut Reached,
    ) -> Result<()> {
        let mut open: Vec<Descriptor> = roots.into_iter().map(Descriptor::bare).collect();
        while let Some(descriptor) = open.pop() {
            if reached.insert(descriptor.digest.clone(), descriptor.size).is_none() {
                open.extend_from_slice(self.children(&descriptor)?);
            }
        }
        Ok(())
    }

    fn children(&mut self, descriptor: &Descriptor) -> Result<&[Descriptor]> {
        if !MANIFEST_TYPES.contains(&descriptor.media_type.as_str()) {
            return Ok(&[]);
        }
        match self.read.entry(descriptor.digest.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let children = children(self.store, descriptor)?;
                Ok(new.insert(children.iter().map(Descriptor::bare).collect()))
            }
        }
    }
}

/// What a manifest or index names; nothing where the blob is neither.
pub(crate) fn children(store: &Store, descriptor: &Descriptor) -> Result<Vec<Descriptor>> {
    let owner = "a named manifest";
    match descriptor.media_type.as_str() {
        INDEX | DOCKER_LIST => Ok(store.blobs.json::<Index>(descriptor, owner)?.manifests),
        MANIFEST | DOCKER_MANIFEST => {
            let manifest: Manifest = store.blobs.json(descriptor, owner)?;
            let previous = previous(store, &manifest);
            Ok(manifest.layers.into_iter().chain([manifest.config]).chain(previous).collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// A blob as a root, where it is a manifest or an index: its own bytes tell which.
pub(crate) fn root(store: &Store, digest: &Digest) -> Option<Descriptor> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    let bytes = read_small(&store.blobs.path(digest)).ok()??;
    let typed: Typed = serde_json::from_slice(&bytes).ok()?;
    Some(Descriptor::new(&typed.media_type, digest.clone(), bytes.len() as u64))
}

/// The record before a channel move's record.
pub(crate) fn previous(store: &Store, manifest: &Manifest) -> Option<Descriptor> {
    let digest: Digest = manifest.annotations.get(PREVIOUS)?.parse().ok()?;
    let size = store.blobs.path(&digest).metadata().ok()?.len();
    Some(Descriptor::new(MANIFEST, digest, size))
}

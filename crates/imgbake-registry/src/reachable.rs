//! Which blobs a name leads to: index → manifests → config, layers and the record before a channel's
//! move. A `subject` is not followed: what refers to a version does not keep it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use imgbake_build::BuildError;
use imgbake_oci::{DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES};
use imgbake_types::{Algorithm, Digest};

use crate::Result;
use crate::files::{MAX_JSON, read_small};
use crate::index::Index;
use crate::oci::{Descriptor, INDEX, MANIFEST, Manifest, PREVIOUS};
use crate::store::Store;

/// The media type of bytes of which nothing is known.
const BYTES: &str = "application/octet-stream";

/// Blobs that were reached, each with its size as its descriptor states it.
pub(crate) type Reachable = BTreeMap<Digest, u64>;

/// What manifests and indexes name, each of them read once.
pub(crate) struct Documents<'a> {
    store: &'a Store,
    read: HashMap<Digest, Vec<Child>>,
    unreadable: BTreeMap<Digest, BuildError>,
}

/// What a document names.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) descriptor: Descriptor,
    /// Whether it can be a document itself: else it is a config or a layer, of whatever type.
    is_document: bool,
}

impl Child {
    /// Something that a name or an index names.
    pub(crate) fn document(descriptor: &Descriptor) -> Self {
        Self { descriptor: descriptor.bare(), is_document: true }
    }

    fn leaf(descriptor: &Descriptor) -> Self {
        Self { descriptor: descriptor.bare(), is_document: false }
    }
}

impl<'a> Documents<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, read: HashMap::new(), unreadable: BTreeMap::new() }
    }

    /// Where they are read.
    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Documents that could not be read: what they name is not known.
    pub(crate) const fn unreadable(&self) -> &BTreeMap<Digest, BuildError> {
        &self.unreadable
    }

    /// Adds every blob that some descriptors lead to.
    pub(crate) fn reach<'d>(
        &mut self,
        roots: impl IntoIterator<Item = &'d Descriptor>,
        reached: &mut Reachable,
    ) {
        let mut walked = HashSet::new();
        let mut open: Vec<Child> = roots.into_iter().map(Child::document).collect();
        while let Some(child) = open.pop() {
            let Descriptor { digest, size, .. } = &child.descriptor;
            reached.insert(digest.clone(), *size);
            // Of two who name one blob, one may take it for a layer: then the other's word counts.
            if child.may_name_others() && walked.insert(digest.clone()) {
                open.extend_from_slice(self.children(&child));
            }
        }
    }

    fn children(&mut self, child: &Child) -> &[Child] {
        match self.read.entry(child.descriptor.digest.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let children = children(self.store, child).unwrap_or_else(|error| {
                    self.unreadable.insert(child.descriptor.digest.clone(), error);
                    Vec::new()
                });
                new.insert(children)
            }
        }
    }
}

impl Child {
    fn may_name_others(&self) -> bool {
        let Descriptor { media_type, size, .. } = &self.descriptor;
        // A document of a type that is not known here may name others as well.
        (self.is_document && *size <= MAX_JSON) || MANIFEST_TYPES.contains(&media_type.as_str())
    }
}

/// What a manifest or index names. Of a document in a form that is not known here, that is every blob whose
/// digest its text holds.
pub(crate) fn children(store: &Store, child: &Child) -> Result<Vec<Child>> {
    if !child.may_name_others() {
        return Ok(Vec::new());
    }
    let bytes = store.blobs.read(&child.descriptor, "a named manifest")?;
    let known = match child.descriptor.media_type.as_str() {
        INDEX | DOCKER_LIST => serde_json::from_slice(&bytes)
            .ok()
            .map(|index: Index| index.manifests.iter().map(Child::document).collect()),
        MANIFEST | DOCKER_MANIFEST => serde_json::from_slice(&bytes).ok().map(|it: Manifest| {
            let leaves = it.layers.iter().chain([&it.config]).map(Child::leaf);
            leaves.chain(previous(store, &it).as_ref().map(Child::document)).collect()
        }),
        _ => None,
    };
    Ok(known.unwrap_or_else(|| {
        let stored = mentions(&bytes).into_iter().filter_map(|digest| stored(store, &digest));
        stored.map(|descriptor| Child::document(&descriptor)).collect()
    }))
}

/// What an index lists in a form that is not known here leads to: every stored blob whose digest its text
/// holds, or the text of the blob that it names, whatever the kind of that blob's digest.
pub(crate) fn foreign(store: &Store, index: &Index) -> Vec<Descriptor> {
    let mut named = BTreeSet::new();
    for entry in index.manifests.foreign() {
        named.extend(mentions(entry.to_string().as_bytes()));
        let digest = entry.get("digest").and_then(|digest| digest.as_str()?.split_once(':'));
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if let Some((algorithm, hex)) = digest
            && plain(algorithm)
            && plain(hex)
        {
            let path = store.root().join("blobs").join(algorithm).join(hex);
            let bytes = read_small(&path).ok().flatten();
            named.extend(bytes.iter().flat_map(|bytes| mentions(bytes)));
        }
    }
    named.iter().filter_map(|digest| stored(store, digest)).collect()
}

/// Every digest in a document's text.
pub(crate) fn mentions(bytes: &[u8]) -> BTreeSet<Digest> {
    let text = String::from_utf8_lossy(bytes);
    let prefix = format!("{}:", Algorithm::Sha256.name());
    let digest = |(at, _)| text.get(at..at + prefix.len() + 64)?.parse().ok();
    text.match_indices(&prefix).filter_map(digest).collect()
}

/// A blob that is stored, as its own bytes say what it is.
fn stored(store: &Store, digest: &Digest) -> Option<Descriptor> {
    let size = store.blobs.path(digest).metadata().ok()?.len();
    let document = (size <= MAX_JSON).then(|| root(store, digest)).flatten();
    Some(document.unwrap_or_else(|| Descriptor::new(BYTES, digest.clone(), size)))
}

/// A blob as a root, where it is a manifest or an index: its own bytes say which.
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
    // One that is not there is a document that cannot be read, not the history's end.
    let size = store.blobs.path(&digest).metadata().map_or(0, |file| file.len());
    Some(Descriptor::new(MANIFEST, digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_digests_in_a_text() {
        let [one, other] = ["x", "y"].map(Digest::sha256);
        let text =
            format!("{{\"a\":\"{one}\",\"b\":[\"{other}\",\"{one}\",\"sha256:00\"]}}sha256:");
        assert_eq!(mentions(text.as_bytes()), BTreeSet::from([one, other]));
        assert_eq!(mentions(b"\xff\xfesha256:"), BTreeSet::new());
    }
}

//! What the test registry holds, in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use imgbake_types::Digest;

/// A manifest and its media type.
pub(super) type Typed = (String, Bytes);

/// All repositories.
#[derive(Debug, Default)]
pub(super) struct Store {
    repositories: HashMap<String, Repository>,
    /// Uploads that are going on.
    pub(super) uploads: HashMap<String, Vec<u8>>,
    pub(super) next_upload: u64,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<String, Bytes>,
    pub(super) manifests: BTreeMap<String, Typed>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Store {
    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn tags(&mut self, name: &str) -> Vec<String> {
        self.repository(name).tags.keys().cloned().collect()
    }

    pub(super) fn blobs(&mut self, name: &str) -> Vec<String> {
        self.repository(name).blobs.keys().cloned().collect()
    }

    pub(super) fn put_blob(&mut self, name: &str, bytes: Bytes) -> String {
        let digest = Digest::sha256(&bytes).to_string();
        self.repository(name).blobs.insert(digest.clone(), bytes);
        digest
    }

    pub(super) fn put_manifest(
        &mut self,
        name: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: Bytes,
    ) -> String {
        let digest = Digest::sha256(&bytes).to_string();
        let repository = self.repository(name);
        repository.manifests.insert(digest.clone(), (media_type.to_owned(), bytes));
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), digest.clone());
        }
        digest
    }

    /// Takes a manifest away by its digest, with the tags that name it.
    pub(super) fn delete_manifest(&mut self, name: &str, digest: &str) -> bool {
        let repository = self.repository(name);
        repository.tags.retain(|_, named| named != digest);
        repository.manifests.remove(digest).is_some()
    }

    /// The manifest of a tag or digest.
    pub(super) fn manifest(&mut self, name: &str, reference: &str) -> Option<(String, Typed)> {
        let repository = self.repository(name);
        let digest = repository.tags.get(reference).map_or(reference, String::as_str).to_owned();
        let found = repository.manifests.get(&digest)?.clone();
        Some((digest, found))
    }
}

//! A repository of the test registry as files: `tags.json`, `manifests/HEX`, `blobs/HEX`.

use std::collections::BTreeMap;
use std::fs;

use camino::Utf8Path;
use serde_json::Value;

use super::TestRegistry;
use crate::lock::lock;

impl TestRegistry {
    /// Writes a repository into a folder.
    pub fn save(&self, name: &str, dir: &Utf8Path) {
        let mut store = lock(&self.shared.store);
        let repository = store.repository(name);
        let manifests = repository.manifests.iter().map(|(digest, (_, bytes))| (digest, bytes));
        write(&dir.join("manifests"), manifests);
        write(&dir.join("blobs"), repository.blobs.iter());
        let tags = serde_json::to_vec_pretty(&repository.tags).unwrap();
        fs::write(dir.join("tags.json"), tags).unwrap();
    }

    /// Adds what [`TestRegistry::save`] wrote to a repository.
    pub fn load(&self, name: &str, dir: &Utf8Path) {
        let read = |below: &str| {
            let entries = dir.join(below).read_dir_utf8().unwrap();
            entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect::<Vec<_>>()
        };
        let mut store = lock(&self.shared.store);
        for blob in read("blobs") {
            store.put_blob(name, blob.into());
        }
        for manifest in read("manifests") {
            let document: Value = serde_json::from_slice(&manifest).unwrap();
            let media_type = document["mediaType"].as_str().unwrap();
            store.put_manifest(name, None, media_type, manifest.into());
        }
        let tags = fs::read(dir.join("tags.json")).unwrap();
        let tags: BTreeMap<String, String> = serde_json::from_slice(&tags).unwrap();
        store.repository(name).tags.extend(tags);
    }
}

fn write<'a>(dir: &Utf8Path, files: impl Iterator<Item = (&'a String, &'a bytes::Bytes)>) {
    fs::create_dir_all(dir).unwrap();
    for (digest, bytes) in files {
        fs::write(dir.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
    }
}

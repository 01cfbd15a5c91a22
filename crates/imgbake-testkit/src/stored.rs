//! What earlier imgbakes stored (`tests/fixtures/`), and documents that only a later one would store.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Digest;
use serde_json::{Value, json};

use crate::{TestHome, run_tool};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const VERSION: &str = "org.opencontainers.image.version";

impl TestHome {
    /// A home as an earlier imgbake left it, with `shared`, `remote` and `remote-without-referrers`
    /// beside it: `tests/fixtures/NAME/stored.tar.gz`.
    pub fn stored(name: &str) -> Self {
        let home = Self::new();
        let fixtures = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let archive = fixtures.join(name).join("stored.tar.gz");
        let run = run_tool("tar", &["-xzf", archive.as_str(), "-C", home.dir().as_str()]);
        assert_eq!(run.code, 0, "{run}");
        home
    }

    /// Its registry's files.
    pub fn layout(&self) -> StoredLayout {
        StoredLayout::new(self.home().join("registry"))
    }
}

/// A layout's files, changed without the program.
#[derive(Debug, Clone)]
pub struct StoredLayout(Utf8PathBuf);

impl StoredLayout {
    /// The layout in a folder.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self(root.into())
    }

    /// Where a blob is.
    pub fn blob(&self, digest: &str) -> Utf8PathBuf {
        self.0.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// The digests of all blobs.
    pub fn blobs(&self) -> Vec<String> {
        let entries = self.0.join("blobs/sha256").read_dir_utf8().unwrap();
        let mut blobs: Vec<String> =
            entries.map(|entry| format!("sha256:{}", entry.unwrap().file_name())).collect();
        blobs.sort();
        blobs
    }

    /// A blob's JSON.
    pub fn json(&self, digest: &Value) -> Value {
        serde_json::from_slice(&fs::read(self.blob(digest.as_str().unwrap())).unwrap()).unwrap()
    }

    /// Stores a blob; gives its descriptor.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::sha256(bytes).to_string();
        fs::write(self.blob(&digest), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Stores a document; gives its descriptor.
    pub fn put_json(&self, media_type: &str, document: &Value) -> Value {
        self.put(media_type, document.to_string().as_bytes())
    }

    /// What a label of `index.json` points at.
    pub fn label(&self, label: &str) -> Option<Value> {
        let manifests = self.index()["manifests"].take();
        let named = |entry: &&Value| entry["annotations"][REF_NAME] == label;
        manifests.as_array().unwrap().iter().find(named).cloned()
    }

    /// Points a label of `index.json` at something.
    pub fn name(&self, label: &str, mut descriptor: Value) {
        descriptor["annotations"][REF_NAME] = label.into();
        let mut index = self.index();
        let manifests = index["manifests"].as_array_mut().unwrap();
        manifests.retain(|entry| entry["annotations"][REF_NAME] != label);
        manifests.push(descriptor);
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.0.join("index.json")).unwrap()).unwrap()
    }

    /// Adds a version like another one under the same name, whose index, manifest and config are changed
    /// first. Gives its digest.
    pub fn add_version(
        &self,
        (name, like, version): (&str, &str, &str),
        change: impl FnOnce(&mut Value, &mut Value, &mut Value),
    ) -> String {
        let mut index = self.json(&self.label(&format!("{name}:{like}")).unwrap()["digest"]);
        let mut manifest = self.json(&index["manifests"][0]["digest"]);
        let mut config = self.json(&manifest["config"]["digest"]);
        config["io.imgbake.image"]["version"] = version.into();
        index["annotations"][VERSION] = version.into();
        change(&mut index, &mut manifest, &mut config);
        let media_type = manifest["config"]["mediaType"].as_str().unwrap().to_owned();
        manifest["config"] = self.put_json(&media_type, &config);
        let annotations = index["manifests"][0]["annotations"].clone();
        index["manifests"][0] = self.put_json(MANIFEST, &manifest);
        index["manifests"][0]["annotations"] = annotations;
        let mut descriptor = self.put_json(INDEX, &index);
        descriptor["artifactType"] = index["artifactType"].clone();
        let digest = descriptor["digest"].as_str().unwrap().to_owned();
        self.name(&format!("{name}:{version}"), descriptor);
        digest
    }

    /// Attaches a document to a version; gives its manifest's digest.
    pub fn attach(&self, name: &str, subject: &str, kind: &str, document: &Value) -> String {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": self.put("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [self.put_json(kind, document)],
            "subject": { "mediaType": INDEX, "digest": subject, "size": 1 },
            "annotations": { "org.opencontainers.image.created": "2030-01-01T00:00:00Z" }
        });
        let mut entry = self.put_json(MANIFEST, &manifest);
        entry["artifactType"] = kind.into();
        let digest = entry["digest"].as_str().unwrap().to_owned();
        let label = format!("{name}:{}", subject.replace(':', "-"));
        let mut list = self.label(&label).map_or_else(
            || json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }),
            |list| self.json(&list["digest"]),
        );
        list["manifests"].as_array_mut().unwrap().push(entry);
        self.name(&label, self.put_json(INDEX, &list));
        digest
    }

    /// Adds a record to a channel's history, which says nothing of where the channel points.
    pub fn add_move(&self, name: &str, channel: &str, document: &Value) {
        let kind = "application/vnd.imgbake.channel-move.v1+json";
        let label = format!("{name}:{channel}.history");
        let previous = self.label(&label).unwrap()["digest"].clone();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": self.put("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [self.put_json(kind, document)],
            "annotations": { "io.imgbake.previous": previous }
        });
        self.name(&label, self.put_json(MANIFEST, &manifest));
    }
}

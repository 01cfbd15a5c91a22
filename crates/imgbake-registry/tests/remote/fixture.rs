//! Versions in registries, made of nothing but OCI's own documents.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_build::BuildError;
use imgbake_oci::{Remote, RemoteOptions, Repository};
use imgbake_registry::Layout;
use imgbake_registry::transfer::{Copied, End, copy};
use imgbake_runtime::job::new_id;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_testkit::TestRegistry;
use imgbake_types::{Digest, Target};
use serde_json::{Value, json};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const VERSION: &str = "2026.11.23-1";
pub(crate) const MIB: usize = 1 << 20;

/// A home, a layout, a job.
pub(crate) struct Fixture {
    pub(crate) dir: Utf8PathBuf,
    pub(crate) job: Job,
    pub(crate) layout: Layout,
    _temp: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let job = job(&dir);
        let layout = Layout::open(dir.join("registry")).unwrap();
        Self { dir, job, layout, _temp: temp }
    }

    pub(crate) async fn repository(&self, host: &str, name: &str) -> Repository {
        self.repository_with(host, name, &RemoteOptions::default()).await.unwrap()
    }

    pub(crate) async fn repository_with(
        &self,
        host: &str,
        name: &str,
        options: &RemoteOptions,
    ) -> Result<Repository, BuildError> {
        Ok(Remote::connect(&self.job, host, options).await?.repository(name)?)
    }

    pub(crate) async fn remote(&self, host: &str, name: &str) -> End {
        End::remote(&self.job, self.repository(host, name).await)
    }

    pub(crate) fn local(&self, name: &str) -> End {
        End::local(&self.layout, name).unwrap()
    }

    pub(crate) async fn copy(&self, from: &End, to: &End) -> Result<Copied, BuildError> {
        copy(&self.job, from, &Target::Tag(VERSION.to_owned()), to, None).await
    }

    /// What `index.json` has under a label.
    pub(crate) fn label(&self, label: &str) -> Option<Value> {
        let index = fs::read(self.layout.root().join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let named =
            |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == label;
        index["manifests"].as_array().unwrap().iter().find(named).cloned()
    }

    /// Every blob of the layout, each proved by its name.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let mut names = Vec::new();
        for entry in self.layout.root().join("blobs/sha256").read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let name = path.file_name().unwrap().to_owned();
            assert_eq!(Digest::sha256(fs::read(&path).unwrap()).hex(), name);
            names.push(name);
        }
        names.sort();
        names
    }
}

pub(crate) fn job(dir: &camino::Utf8Path) -> Job {
    let (home, id) = (Home::new(dir.join("home")), new_id("test"));
    let (events, _) = Events::channel(&id, Secrets::default());
    Job::begin(&home, &id, Cancel::new(), events, Secrets::default()).unwrap()
}

/// Bytes that cannot be compressed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::sha256(bytes).to_string(), "size": bytes.len() })
}

/// The parts of a version: an index of one manifest, and something that refers to it.
pub(crate) struct Version {
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) index: Vec<u8>,
    pub(crate) digest: Digest,
}

/// A version of three layers; the first is of `seed`, the others are every version's.
pub(crate) fn version(tag: &str, seed: u64) -> Version {
    let config = format!(r#"{{"architecture":"amd64","os":"linux","seed":{seed}}}"#).into_bytes();
    let layers = [noise(seed, 3 * MIB + 17), noise(1 << 40, MIB), b"small".to_vec()];
    let parts: Vec<Value> =
        layers.iter().map(|layer| descriptor("application/x-part", layer)).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.imgbake.image.v1",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config), "layers": parts
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "artifactType": "application/vnd.imgbake.image.v1",
        "manifests": [descriptor(MANIFEST, &manifest)],
        "annotations": { "org.opencontainers.image.version": tag }
    });
    let index = serde_json::to_vec(&index).unwrap();
    let blobs = std::iter::once(config).chain(layers).collect();
    let digest = Digest::sha256(&index);
    Version { blobs, manifest, index, digest }
}

/// A manifest that refers to another, and its one layer.
pub(crate) fn referrer(media_type: &str, subject: &[u8], seed: u64) -> (Vec<u8>, Vec<u8>) {
    let layer = format!(r#"{{"statement":{seed}}}"#).into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x-statement",
        "config": descriptor(EMPTY, b"{}"), "layers": [descriptor("application/x-statement", &layer)],
        "subject": descriptor(media_type, subject),
        "annotations": { "org.opencontainers.image.created": format!("2026-11-23T10:{:02}:00Z", seed % 60) }
    });
    (serde_json::to_vec(&manifest).unwrap(), layer)
}

/// Puts a version into a registry, with a statement about it and one about that statement. Gives the
/// version's digest.
pub(crate) fn seed(registry: &TestRegistry, name: &str, tag: &str, seed: u64) -> Digest {
    let version = version(tag, seed);
    for blob in &version.blobs {
        registry.put_blob(name, blob);
    }
    registry.put_blob(name, b"{}");
    put_untagged(registry, name, MANIFEST, &version.manifest);
    registry.put_manifest(name, tag, INDEX, &version.index);
    let (statement, layer) = referrer(INDEX, &version.index, seed);
    registry.put_blob(name, &layer);
    put_untagged(registry, name, MANIFEST, &statement);
    let (signature, layer) = referrer(MANIFEST, &statement, seed + 1);
    registry.put_blob(name, &layer);
    put_untagged(registry, name, MANIFEST, &signature);
    version.digest
}

/// Manifests lie under their digests as well: the tag is only a way in.
pub(crate) fn put_untagged(registry: &TestRegistry, name: &str, media_type: &str, bytes: &[u8]) {
    registry.put_manifest(name, &Digest::sha256(bytes).to_string(), media_type, bytes);
}

//! A registry's folder with one of everything, in which each document can be another.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, NoTap, capture};
use imgbake_build::evidence::record_verify;
use imgbake_build::{KnownChunks, LayerShare, Naming, Registry, SharedLayer};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_registry::{Layout, LayoutShare};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::record::{ComposedMove, VersionView};
use imgbake_types::spec::VerifySpec;
use imgbake_types::{Digest, MachineSpec};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{folder, tagged};

/// The size of the version's disk, and of the layer's one file, in bytes.
pub const SIZE: u64 = 100_352;

/// A document, and where the one above it names it.
struct Document {
    /// The number of the one above; none for `index.json`.
    above: Option<usize>,
    /// The descriptor's place there.
    pointer: &'static str,
    bytes: Vec<u8>,
}

/// The folder, and what is beside it.
pub struct Ground {
    /// A folder for everything.
    pub dir: Utf8PathBuf,
    /// The registry: `web:1`, verified, and the channel `dev` at it.
    pub layout: Layout,
    /// The key of a layer in the same folder.
    pub key: Digest,
    /// Runs what reads it.
    pub runtime: Runtime,
    /// A running job.
    pub job: Job,
    documents: Vec<Document>,
    first_of_layer: usize,
}

impl Ground {
    /// Makes all of it.
    pub fn new() -> Self {
        let dir = folder();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let layout = Layout::open(dir.join("registry")).unwrap();
        let (events, _) = Events::channel("fuzz", Secrets::default());
        let home = Home::new(dir.join("home"));
        let job = Job::begin(&home, "fuzz", Cancel::new(), events, Secrets::default()).unwrap();
        let key = Digest::sha256("a layer's key");
        let disk = dir.join("disk.raw");
        fs::write(&disk, vec![7; usize::try_from(SIZE).unwrap()]).unwrap();
        runtime.block_on(async {
            let version = publish(&layout, &dir, &disk).await;
            say_of(&layout, &version).await;
            share(&layout, &job, &key, &disk).await;
        });
        let documents = Vec::new();
        let mut ground = Self { dir, layout, key, runtime, job, documents, first_of_layer: 0 };
        ground.collect();
        ground
    }

    /// How many documents there are.
    pub fn documents(&self) -> u8 {
        u8::try_from(self.documents.len()).unwrap()
    }

    /// Whether a document is of the layer, or of the version; none for `index.json`, which is of both.
    pub fn of_layer(&self, number: u8) -> Option<bool> {
        let number = usize::from(number);
        (number > 0).then_some(number >= self.first_of_layer)
    }

    /// Each document as it is.
    pub fn sound(&self) -> Vec<Vec<u8>> {
        (0..).zip(&self.documents).map(|(number, one)| tagged(number, &one.bytes)).collect()
    }

    /// Puts other bytes in a document's place, under the digests that this asks for; gives the files
    /// that are new.
    pub fn replace(&self, number: u8, bytes: &[u8]) -> Vec<Utf8PathBuf> {
        let mut document = &self.documents[usize::from(number)];
        let mut bytes = bytes.to_vec();
        let mut new = Vec::new();
        while let Some(above) = document.above {
            let digest = Digest::sha256(&bytes);
            let path = self.blob(&digest.to_string());
            if !path.exists() {
                fs::write(&path, &bytes).unwrap();
                new.push(path);
            }
            let pointer = document.pointer;
            document = &self.documents[above];
            let mut text: Value = serde_json::from_slice(&document.bytes).unwrap();
            let descriptor = text.pointer_mut(pointer).unwrap();
            descriptor["digest"] = json!(digest.to_string());
            descriptor["size"] = json!(bytes.len());
            bytes = text.to_string().into_bytes();
        }
        fs::write(self.layout.root().join("index.json"), bytes).unwrap();
        new
    }

    fn blob(&self, digest: &str) -> Utf8PathBuf {
        self.layout.root().join("blobs").join(digest.replace(':', "/"))
    }

    fn collect(&mut self) {
        let bytes = fs::read(self.layout.root().join("index.json")).unwrap();
        self.documents.push(Document { above: None, pointer: "", bytes });
        let places = self.places();
        // A version: its index, manifest, config, chunk table and pack.
        let index = self.follow(0, places["web:1"]);
        let manifest = self.follow(index, "/manifests/0");
        for pointer in ["/config", "/layers/0", "/layers/1"] {
            self.follow(manifest, pointer);
        }
        // What is said of it, and its channel's move.
        let list = self.follow(0, places["referrers"]);
        let manifest = self.follow(list, "/manifests/0");
        self.follow(manifest, "/layers/0");
        let manifest = self.follow(0, places["web:dev.history"]);
        self.follow(manifest, "/layers/0");
        let manifest = self.follow(0, places["layer"]);
        self.first_of_layer = manifest;
        for pointer in ["/config", "/layers/0"] {
            self.follow(manifest, pointer);
        }
    }

    /// The places in `index.json`, by what is named there.
    fn places(&self) -> BTreeMap<&'static str, &'static str> {
        const PLACES: [&str; 6] = [
            "/manifests/0",
            "/manifests/1",
            "/manifests/2",
            "/manifests/3",
            "/manifests/4",
            "/manifests/5",
        ];
        let text: Value = serde_json::from_slice(&self.documents[0].bytes).unwrap();
        let kinds = [
            ("web:1", "web:1"),
            ("referrers", "web:sha256-"),
            ("web:dev.history", "web:dev.history"),
            ("layer", "layer-"),
        ];
        let named = |place: &str| {
            let label = text.pointer(place)?["annotations"]["org.opencontainers.image.ref.name"]
                .as_str()?
                .to_owned();
            kinds.iter().find(|(_, start)| label.starts_with(start)).map(|(kind, _)| *kind)
        };
        PLACES.into_iter().filter_map(|place| Some((named(place)?, place))).collect()
    }

    /// Adds the document that another names.
    fn follow(&mut self, above: usize, pointer: &'static str) -> usize {
        let text: Value = serde_json::from_slice(&self.documents[above].bytes).unwrap();
        let digest = text.pointer(pointer).unwrap()["digest"].as_str().unwrap();
        let bytes = fs::read(self.blob(digest)).unwrap();
        self.documents.push(Document { above: Some(above), pointer, bytes });
        self.documents.len() - 1
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

async fn publish(layout: &Layout, dir: &Utf8Path, disk: &Utf8Path) -> VersionView {
    let image = DiskImage::open_as(disk, DiskFormat::Raw).unwrap();
    let folder = dir.join("capture");
    fs::create_dir(&folder).unwrap();
    let request = CaptureRequest {
        disk: &image,
        folder: &folder,
        known: KnownChunks::default(),
        changed: None,
        tap: Box::new(NoTap),
        cancel: &Cancel::new(),
        progress: &|_| {},
    };
    let (capture, _) = capture(request).unwrap();
    let config = serde_json::from_value(json!({
        "name": "web", "version": "unnamed", "created": "2026-11-23T10:00:00Z",
        "arch": "x86_64", "firmware": "bios", "imgbake": "0.1.0", "stages": [],
        "proof": { "machine": MachineSpec::default(), "verify": VerifySpec::default() },
        "plan": { "digest": Digest::sha256("plan") },
        "disk": capture.disk_record(&[]),
    }));
    let naming = Naming::Fixed("1".parse().unwrap());
    layout.publish(&capture, config.unwrap(), &naming).await.unwrap()
}

async fn say_of(layout: &Layout, version: &VersionView) {
    let record = json!({
        "subject": version.digest, "time": "2026-11-23T10:00:00Z", "status": "passed",
        "tests": [{ "name": "x", "machine": "verify-1", "passed": true, "seconds": 1.5, "detail": "" }],
        "seconds": 2.5
    });
    record_verify(&*layout.image("web"), &serde_json::from_value(record).unwrap()).await.unwrap();
    let entry = json!({
        "channel": "dev", "time": "2026-11-23T10:00:00Z", "who": "me", "action": "promote",
        "number": 1, "to": { "version": "1", "digest": version.digest }
    });
    let composed = ComposedMove::new(serde_json::from_value(entry).unwrap()).unwrap();
    layout.image("web").swap(&composed).await.unwrap();
}

async fn share(layout: &Layout, job: &Job, key: &Digest, disk: &Utf8Path) {
    let layer = SharedLayer {
        key: key.clone(),
        parent: None,
        record: json!({ "step": "x" }).to_string().into_bytes(),
        files: vec![("disk.raw".to_owned(), disk.to_owned())],
    };
    LayoutShare::open(layout.root()).unwrap().push(job, layer).await.unwrap();
}

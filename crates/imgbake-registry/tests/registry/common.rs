//! A layout in a folder of its own, and captures to put in it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, NoTap};
use imgbake_build::{BuildError, Capture, KnownChunks, Naming, Registry, Whole};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_registry::Layout;
use imgbake_runtime::job::new_id;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_testkit::{channel_move, image_config};
use imgbake_types::record::{
    ChannelMove, ComposedMove, ImageConfig, RecordedMove, Swap, TestOutcome, VerifyRecord,
    VerifyStatus, VersionRef, VersionView,
};
use imgbake_types::{Digest, Reference};
use serde_json::Value;

pub(crate) const DAY: &str = "2026.11.23";
pub(crate) const MIB: usize = 1 << 20;

pub(crate) struct Fixture {
    pub(crate) dir: Utf8PathBuf,
    pub(crate) layout: Layout,
    _temp: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let layout = Layout::open(dir.join("registry")).unwrap();
        Self { dir, layout, _temp: temp }
    }

    pub(crate) fn job(&self) -> Job {
        let (home, id) = (Home::new(self.dir.join("home")), new_id("test"));
        let (events, _) = Events::channel(&id, Secrets::default());
        Job::begin(&home, &id, Cancel::new(), events, Secrets::default()).unwrap()
    }

    pub(crate) fn path(&self, below: &str) -> Utf8PathBuf {
        self.layout.root().join(below)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Utf8PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    /// Publishes a disk of its own bytes.
    pub(crate) async fn publish(&self, name: &str, seed: u64) -> VersionView {
        publish(&self.layout, &self.dir, name, seed).await.unwrap()
    }

    /// Every version, all of which can be read.
    pub(crate) async fn listed(&self, name: Option<&str>) -> Vec<VersionView> {
        let listed = self.layout.versions(name).await.unwrap();
        listed.iter().map(|version| version.readable().unwrap().clone()).collect()
    }

    pub(crate) async fn resolve(&self, text: &str) -> Result<VersionView, BuildError> {
        self.layout.resolve(&text.parse::<Reference>().unwrap()).await
    }

    /// Composes a channel's next move.
    pub(crate) async fn compose(&self, name: &str, channel: &str, to: &VersionView) -> ChannelMove {
        let state = self.layout.image(name).state(&channel.parse().unwrap()).await.unwrap();
        channel_move(&state, channel, version_ref(to))
    }

    /// Makes a move that nobody else contends for.
    pub(crate) async fn swap(&self, name: &str, entry: ChannelMove) -> Result<Swap, BuildError> {
        self.layout.image(name).swap(&ComposedMove::new(entry).unwrap()).await
    }

    pub(crate) async fn move_to(&self, name: &str, channel: &str, to: &VersionView) -> ChannelMove {
        let entry = self.compose(name, channel, to).await;
        match self.swap(name, entry).await.unwrap() {
            Swap::Moved(moved) => moved.entry,
            Swap::Lost(state) => panic!("nobody else moves it: {state:?}"),
        }
    }

    pub(crate) async fn history(
        &self,
        name: &str,
        channel: &str,
    ) -> Result<Vec<RecordedMove>, BuildError> {
        self.layout.image(name).history(&channel.parse().unwrap()).await
    }

    /// Restores a version and gives the disk's bytes.
    pub(crate) async fn restore(&self, digest: &Digest) -> Result<Vec<u8>, BuildError> {
        let path = self.dir.join("restored.raw");
        // For writing only: more is not asked of a caller.
        let file = File::create(&path).unwrap();
        self.layout.restore(digest, file, Whole::Hash, Box::new(|_| {})).await?;
        Ok(fs::read(&path).unwrap())
    }

    /// Every blob's name.
    pub(crate) fn blobs(&self) -> Vec<String> {
        names_in(&self.path("blobs/sha256"))
    }
}

pub(crate) fn names_in(dir: &Utf8Path) -> Vec<String> {
    let mut names: Vec<String> =
        dir.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

pub(crate) async fn publish(
    layout: &Layout,
    dir: &Utf8Path,
    name: &str,
    seed: u64,
) -> Result<VersionView, BuildError> {
    let capture = capture(dir, &disk(seed));
    layout.publish(&capture, config(name), &Naming::Dated { day: DAY.to_owned() }).await
}

/// A disk of 6 MiB with holes, whose data cannot be compressed.
pub(crate) fn disk(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 6 * MIB];
    for range in [0..4096, MIB - 4096..MIB + 8192, 3 * MIB..4 * MIB + 512, 6 * MIB - 512..6 * MIB] {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for byte in &mut bytes[range] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[3];
        }
    }
    bytes
}

/// Captures a disk into a pack, in a new folder below `dir`.
pub(crate) fn capture(dir: &Utf8Path, disk: &[u8]) -> Capture {
    capture_knowing(dir, disk, KnownChunks::default())
}

/// Captures a disk of which something may be stored already.
pub(crate) fn capture_knowing(dir: &Utf8Path, disk: &[u8], known: KnownChunks) -> Capture {
    let work = tempfile::Builder::new().prefix("capture-").tempdir_in(dir).unwrap().keep();
    let folder = Utf8PathBuf::from_path_buf(work).unwrap();
    let path = folder.join("disk");
    fs::write(&path, disk).unwrap();
    let image = DiskImage::open_as(&path, DiskFormat::Raw).unwrap();
    let request = CaptureRequest {
        disk: &image,
        folder: &folder,
        known,
        changed: None,
        tap: Box::new(NoTap),
        cancel: &Cancel::new(),
        progress: &|_| {},
    };
    let (capture, _) = imgbake_build::capture::capture(request).unwrap();
    fs::remove_file(path).unwrap();
    capture
}

/// The only pack of a version.
pub(crate) fn pack_of(fixture: &Fixture, version: &VersionView) -> (Digest, u64) {
    let manifest = manifest_of(fixture, &version.digest);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2, "{manifest}");
    let digest = layers[1]["digest"].as_str().unwrap().parse().unwrap();
    (digest, layers[1]["size"].as_u64().unwrap())
}

/// A blob's JSON.
pub(crate) fn json_of(fixture: &Fixture, digest: &Value) -> Value {
    let digest = digest.as_str().unwrap().parse().unwrap();
    serde_json::from_slice(&fs::read(fixture.blob(&digest)).unwrap()).unwrap()
}

/// The manifest of a version's disk in chunks.
pub(crate) fn manifest_of(fixture: &Fixture, version: &Digest) -> Value {
    let index = json_of(fixture, &version.to_string().into());
    json_of(fixture, &index["manifests"][0]["digest"])
}

pub(crate) fn config(name: &str) -> ImageConfig {
    ImageConfig {
        description: Some("a web server".to_owned()),
        labels: [("team".to_owned(), "web".to_owned())].into(),
        ..image_config(name)
    }
}

pub(crate) fn version_ref(version: &VersionView) -> VersionRef {
    VersionRef { version: version.version.clone(), digest: version.digest.clone() }
}

pub(crate) fn verified(subject: &VersionView, status: VerifyStatus) -> VerifyRecord {
    VerifyRecord {
        subject: subject.digest.clone(),
        time: "2026-11-23T12:00:00Z".parse().unwrap(),
        status,
        tests: vec![TestOutcome {
            name: "serves".to_owned(),
            machine: "verify-1".to_owned(),
            passed: status == VerifyStatus::Passed,
            seconds: 1.5,
            detail: String::new(),
        }],
        seconds: 20.0,
        disk_sha256: None,
    }
}

/// Overwrites some bytes of a file.
pub(crate) fn scribble(path: &Utf8Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

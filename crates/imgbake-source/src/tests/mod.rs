//! Whole fetches: a hostile server on 127.0.0.1, files that lie, a registry that remembers.

mod download;
mod images;
mod inputs;
mod local;
mod packed;
mod pins;
mod server;
mod trust;

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BaseDisk, BuildError, SourceContext, SourceProvider};
use imgbake_http::RetryPolicy;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::plan::{Checksum, Source, UrlSource as Spec};
use imgbake_types::{Arch, Digest, Stage};

use crate::UrlSource;
use crate::pin::Limits;

/// A home of its own, and jobs in it.
pub(super) struct Bench {
    dir: tempfile::TempDir,
    pub(super) cancel: Cancel,
    pub(super) secrets: Secrets,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, cancel: Cancel::new(), secrets: Secrets::default() }
    }

    pub(super) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    pub(super) fn downloads(&self) -> Utf8PathBuf {
        self.path().join("home/cache/downloads")
    }

    pub(super) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs a provider as one job does, as a new process would.
    pub(super) async fn run(
        &self,
        provider: &dyn SourceProvider,
        source: &Source,
    ) -> (Result<BaseDisk, BuildError>, imgbake_runtime::EventReceiver) {
        let home = Home::new(self.path().join("home"));
        let id = imgbake_runtime::job::new_id("test");
        let (events, receiver) = Events::channel(&id, self.secrets.clone());
        let job = Job::begin(&home, &id, self.cancel.clone(), events.clone(), self.secrets.clone())
            .unwrap();
        let stage = events.stage(Stage::Source, "source");
        let key = Digest::sha256("key");
        let context = SourceContext { job: &job, key: &key, arch: Arch::X86_64, stage: &stage };
        let got = provider.fetch(&context, source).await;
        let left: Vec<_> =
            std::fs::read_dir(job.work()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(left.is_empty(), "left in the job's folder: {left:?}");
        job.end().unwrap();
        (got, receiver)
    }

    pub(super) async fn fetch(
        &self,
        location: &str,
        checksum: Checksum,
    ) -> Result<BaseDisk, BuildError> {
        self.run(&impatient(), &url(location, checksum)).await.0
    }

    /// The files of the downloads' folder beside locks and digests.
    pub(super) fn kept(&self) -> Vec<String> {
        let mut kept = Vec::new();
        for dir in [self.downloads(), self.downloads().join("partial")] {
            for entry in dir.read_dir_utf8().unwrap().flatten() {
                if entry.file_type().unwrap().is_file() {
                    kept.push(entry.path().strip_prefix(self.downloads()).unwrap().to_string());
                }
            }
        }
        kept.sort();
        kept
    }
}

pub(super) fn url(location: &str, checksum: Checksum) -> Source {
    Source::Url(Spec { location: location.to_owned(), checksum, headers: BTreeMap::new() })
}

/// Gives up after three attempts that bring nothing.
pub(super) fn impatient() -> UrlSource {
    let wait = Duration::from_millis(60);
    let retries = RetryPolicy { idle: 3, most: wait, ..RetryPolicy::default() };
    let pin_limits = Limits { retries, time: Duration::from_secs(2) };
    UrlSource { retries, pin_limits }
}

pub(super) fn proved(bytes: &[u8]) -> Checksum {
    Checksum::Digest { digest: Digest::sha256(bytes) }
}

/// Bytes that no two places of have in common: a raw disk of whole sectors.
pub(super) fn noise(sectors: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(sectors * 512);
    for _ in 0..sectors * 64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

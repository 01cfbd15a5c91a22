//! Versions as base disks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use imgbake_build::{
    BuildError, BuildErrorKind, Capture, Image, KnownChunks, Naming, Pin, Registry, Whole,
};
use imgbake_disk::chunk::ChunkTable;
use imgbake_types::plan::Source;
use imgbake_types::record::{ImageConfig, ListedVersion, VerifyRecord, VerifyStatus, VersionView};
use imgbake_types::spec::VerifySpec;
use imgbake_types::{Digest, MachineSpec, Reference};
use serde_json::json;

use super::{Bench, noise};
use crate::{RegistrySource, pinned};

/// A registry with one version, which counts what is restored.
struct OneVersion {
    status: VerifyStatus,
    broken: bool,
    restored: AtomicUsize,
}

impl OneVersion {
    fn new(status: VerifyStatus, broken: bool) -> Arc<Self> {
        Arc::new(Self { status, broken, restored: AtomicUsize::new(0) })
    }
}

fn unused<T>() -> Result<T, BuildError> {
    Err(BuildError::failed("a source only reads"))
}

#[async_trait]
impl Registry for OneVersion {
    async fn resolve(&self, reference: &Reference) -> Result<VersionView, BuildError> {
        let digest = format!("web@{}", Digest::sha256("manifest"));
        assert!(["web:prod", &digest].contains(&reference.to_string().as_str()), "{reference}");
        let disk = noise(8);
        let config: ImageConfig = serde_json::from_value(json!({
            "name": "web", "version": "2026.11.23-1", "created": "2026-11-23T10:00:00Z",
            "arch": "x86_64", "firmware": "bios", "imgbake": "0.1.0", "stages": [],
            "proof": { "machine": MachineSpec::default(), "verify": VerifySpec::default() },
            "plan": { "digest": Digest::sha256("plan") },
            "disk": { "sha256": Digest::sha256(&disk), "table": Digest::sha256("table"),
                "chunker": { "name": "fastcdc-2020", "min": 1, "average": 2, "max": 3 },
                "virtual_size": disk.len(), "stored_bytes": 9, "data_bytes": disk.len() },
        }))
        .unwrap();
        let record = (self.status != VerifyStatus::Unverified).then(|| VerifyRecord {
            subject: Digest::sha256("manifest"),
            time: config.created,
            status: self.status,
            tests: Vec::new(),
            seconds: 1.0,
            disk_sha256: None,
        });
        Ok(VersionView::new(config, Digest::sha256("manifest"), vec!["prod".into()], record))
    }

    async fn restore(
        &self,
        digest: &Digest,
        into: File,
        _: Whole,
        mut progress: Box<dyn FnMut(u64) + Send>,
    ) -> Result<Option<Digest>, BuildError> {
        assert_eq!((digest, into.metadata().unwrap().len()), (&Digest::sha256("manifest"), 0));
        self.restored.fetch_add(1, Ordering::SeqCst);
        into.write_all_at(&noise(8), 0).unwrap();
        progress(4096);
        if self.broken { Err(BuildError::failed("a blob is damaged")) } else { Ok(None) }
    }

    async fn known(&self, _: &str, _: Option<&Digest>) -> Result<KnownChunks, BuildError> {
        unused()
    }
    async fn table(&self, _: &Digest) -> Result<ChunkTable, BuildError> {
        unused()
    }
    async fn publish(
        &self,
        _: &Capture,
        _: ImageConfig,
        _: &Naming,
    ) -> Result<VersionView, BuildError> {
        unused()
    }
    async fn versions(&self, _: Option<&str>) -> Result<Vec<ListedVersion>, BuildError> {
        unused()
    }
    fn image(&self, _: &str) -> Box<dyn Image> {
        unreachable!("a source moves no channel")
    }
    async fn sweep(&self) -> Result<(), BuildError> {
        unused()
    }
}

fn source() -> Source {
    Source::Image { reference: "web:prod".parse().unwrap() }
}

#[tokio::test]
async fn a_version_is_restored_once() {
    let bench = Bench::new();
    let registry = OneVersion::new(VerifyStatus::Passed, false);
    let provider = RegistrySource::new(registry.clone());
    let source = source();
    let ((one, _), (two, _)) =
        tokio::join!(bench.run(&provider, &source), bench.run(&provider, &source));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(
        (one.local().unwrap().path.as_path(), one.local().unwrap().virtual_size),
        (two.local().unwrap().path.as_path(), 4096)
    );
    assert_ne!(one.cached, two.cached);
    assert_eq!(registry.restored.load(Ordering::SeqCst), 1);
    assert_eq!(std::fs::read(&one.local().unwrap().path).unwrap(), noise(8));
    assert_eq!(one.parent.reference.clone().unwrap().to_string(), "web:2026.11.23-1");
    assert_eq!(
        (one.parent.kind.as_str(), one.parent.digest.clone()),
        ("image", Digest::sha256("manifest"))
    );
    // One that was cut short is no longer taken for the disk.
    std::fs::File::options()
        .write(true)
        .open(&one.local().unwrap().path)
        .unwrap()
        .set_len(5)
        .unwrap();
    assert!(!bench.run(&provider, &source).await.0.unwrap().cached);
}

#[tokio::test]
async fn a_failed_version_is_refused_and_an_unproved_one_warned_of() {
    for (status, words) in
        [(VerifyStatus::Failed, None), (VerifyStatus::Unverified, Some("never verified"))]
    {
        let bench = Bench::new();
        let registry = OneVersion::new(status, false);
        let (got, mut events) = bench.run(&RegistrySource::new(registry.clone()), &source()).await;
        let Some(words) = words else {
            assert_eq!(got.unwrap_err().kind(), BuildErrorKind::Refused);
            assert_eq!(registry.restored.load(Ordering::SeqCst), 0);
            continue;
        };
        got.unwrap();
        let seen = std::iter::from_fn(|| events.try_recv().ok()).map(|event| format!("{event:?}"));
        let seen: Vec<String> = seen.collect();
        assert!(seen.iter().any(|event| event.contains(words)), "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_fetched_is_what_was_pinned() {
    let bench = Bench::new();
    let provider = RegistrySource::new(OneVersion::new(VerifyStatus::Passed, false));
    let manifest = Digest::sha256("manifest");
    let pin = bench.pin(&provider, &source()).await.0.unwrap();
    assert_eq!(pin, Pin::Now(manifest.to_string()));
    let source = pinned(&source(), &pin);
    let named: Source = Source::Image { reference: format!("web@{manifest}").parse().unwrap() };
    assert_eq!(source, named);
    assert_eq!(bench.pin(&provider, &source).await.0.unwrap(), Pin::Fixed);
    assert_eq!(bench.run(&provider, &source).await.0.unwrap().parent.digest, manifest);
    // Nothing else is changed by a pin.
    let other = super::url("https://h.example/d.raw", super::proved(b""));
    for (source, pin) in [(&other, &pin), (&named, &Pin::Fixed), (&named, &Pin::Now("x".into()))] {
        assert_eq!(pinned(source, pin), *source);
    }
}

#[tokio::test]
async fn a_damaged_version_leaves_no_disk() {
    let bench = Bench::new();
    let provider = RegistrySource::new(OneVersion::new(VerifyStatus::Passed, true));
    let (got, _) = bench.run(&provider, &source()).await;
    assert!(got.unwrap_err().to_string().contains("damaged"));
    let images = bench.path().join("home/cache/images");
    assert!(
        images
            .read_dir_utf8()
            .unwrap()
            .flatten()
            .all(|entry| entry.path().extension() != Some("raw"))
    );
}

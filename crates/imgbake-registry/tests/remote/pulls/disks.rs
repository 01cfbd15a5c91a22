//! Versions with disks, and pulls of them.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, NoTap};
use imgbake_build::{BuildError, KnownChunks, Naming, Registry, Whole};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_oci::Repository;
use imgbake_registry::Layout;
use imgbake_registry::pull::{Came, Part, RemoteVersion, Seed, Sources, pull};
use imgbake_runtime::{Cancel, Job};
use imgbake_testkit::{TestRegistry, image_config};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Target};
use serde_json::Value;

use crate::fixture::{Fixture, MIB, noise};

/// A disk of 24 MiB: two runs of data, a piece of it twice, and holes.
pub(crate) fn disk(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 24 * MIB];
    bytes[..7 * MIB].copy_from_slice(&noise(seed, 7 * MIB));
    bytes.copy_within(..MIB, 9 * MIB);
    bytes[16 * MIB - 4096..21 * MIB].copy_from_slice(&noise(seed + 1, 5 * MIB + 4096));
    bytes
}

/// The same with some places written over.
pub(super) fn child(mut disk: Vec<u8>) -> Vec<u8> {
    for (number, at) in [MIB, 3 * MIB + 777, 4 * MIB, 12 * MIB, 19 * MIB].into_iter().enumerate() {
        disk[at..at + 90_000].copy_from_slice(&noise(1000 + number as u64, 90_000));
    }
    disk
}

/// Publishes a disk in a layout; what the layout has of it is used again.
pub(super) async fn publish(fixture: &Fixture, name: &str, disk: &[u8]) -> VersionView {
    let work = tempfile::Builder::new().tempdir_in(&fixture.dir).unwrap().keep();
    let folder = Utf8PathBuf::from_path_buf(work).unwrap();
    let path = folder.join("disk");
    fs::write(&path, disk).unwrap();
    let known: KnownChunks = fixture.layout.known(name, None).await.unwrap();
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
    let naming = Naming::Dated { day: "2026.11.23".to_owned() };
    fixture.layout.publish(&capture, image_config(name), &naming).await.unwrap()
}

/// Publishes a disk, and copies the version to a registry under the same name.
pub(crate) async fn push(fixture: &Fixture, host: &str, name: &str, disk: &[u8]) -> VersionView {
    let version = publish(fixture, name, disk).await;
    let (from, to) = (fixture.local(name), fixture.remote(host, name).await);
    let target = Target::Digest(version.digest.clone());
    imgbake_registry::transfer::copy(&fixture.job, &from, &target, &to, None).await.unwrap();
    version
}

/// What a pull has beside the registry.
#[derive(Default)]
pub(crate) struct With {
    pub(super) layout: Option<Layout>,
    pub(super) seeds: Vec<Utf8PathBuf>,
}

/// Pulls a version into `part` below a folder; gives where the bytes came from.
pub(crate) async fn fetch(
    job: &Job,
    dir: &Utf8Path,
    repository: &Repository,
    version: &Digest,
    with: With,
) -> Result<(Came, Vec<u8>), BuildError> {
    let version = RemoteVersion::find(repository, &Target::Digest(version.clone())).await?;
    let part = Part::open(&dir.join("part"))?.expect("nobody else pulls");
    let seeds = with.seeds.into_iter().map(|path| Seed { path, must: true }).collect();
    let sources = Sources { layout: with.layout, seeds, whole: Whole::Hash };
    let pulled = pull(job, version, part, sources).await?;
    let bytes = fs::read(pulled.part.path()).unwrap();
    assert_eq!(pulled.sha256, Some(Digest::sha256(&bytes)));
    Ok((pulled.came, bytes))
}

/// The same into a folder of its own, from a registry in this process.
pub(super) async fn fetch_new(
    registry: &TestRegistry,
    name: &str,
    version: &VersionView,
    with: With,
) -> Result<(Came, Vec<u8>), BuildError> {
    let fixture = Fixture::new();
    let repository = fixture.repository(&registry.host(), name).await;
    fetch(&fixture.job, &fixture.dir, &repository, &version.digest, with).await
}

/// A blob's JSON.
pub(super) fn document(fixture: &Fixture, digest: &str) -> Value {
    let path = fixture.layout.root().join("blobs/sha256").join(&digest["sha256:".len()..]);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The manifest of a version's disk in chunks.
pub(super) fn manifest(fixture: &Fixture, version: &VersionView) -> Value {
    let index = document(fixture, &version.digest.to_string());
    document(fixture, index["manifests"][0]["digest"].as_str().unwrap())
}

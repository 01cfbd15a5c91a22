//! New versions that refer to what older ones stored.

use std::fs;

use imgbake_build::evidence::record_verify;
use imgbake_build::{Capture, Naming, Registry};
use imgbake_types::Digest;
use imgbake_types::record::{VerifyStatus, VersionView};

use crate::common::{Fixture, MIB, capture_knowing, config, disk, manifest_of, pack_of, verified};

/// Captures with what the registry knows of an image, and publishes.
async fn publish(
    fixture: &Fixture,
    name: &str,
    parent: Option<&Digest>,
    disk: &[u8],
) -> VersionView {
    let known = fixture.layout.known(name, parent).await.unwrap();
    let capture = capture_knowing(&fixture.dir, disk, known);
    put(fixture, name, &capture).await
}

async fn put(fixture: &Fixture, name: &str, capture: &Capture) -> VersionView {
    let day = crate::common::DAY.to_owned();
    fixture.layout.publish(capture, config(name), &Naming::Dated { day }).await.unwrap()
}

fn changed(seed: u64) -> Vec<u8> {
    let mut bytes = disk(1);
    bytes[3 * MIB + 100_000..3 * MIB + 100_100]
        .copy_from_slice(&disk(seed)[3 * MIB..3 * MIB + 100]);
    bytes
}

#[tokio::test]
async fn the_same_disk_again_stores_documents_alone() {
    let fixture = Fixture::new();
    publish(&fixture, "web", None, &disk(1)).await;
    let before = fixture.blobs();
    let again = publish(&fixture, "web", None, &disk(1)).await;
    assert_eq!(fixture.blobs().len(), before.len() + 3, "config, manifest, index");
    assert!(fixture.restore(&again.digest).await.unwrap() == disk(1));
}

#[tokio::test]
async fn a_version_lists_every_pack_that_it_needs() {
    let fixture = Fixture::new();
    let mut versions = vec![publish(&fixture, "base", None, &disk(1)).await];
    for seed in 2..6 {
        let parent = versions[0].digest.clone();
        versions.push(publish(&fixture, "web", Some(&parent), &changed(seed)).await);
    }
    let pack = pack_of(&fixture, &versions[0]).0.to_string();
    for (seed, version) in (2..6).zip(&versions[1..]) {
        let manifest = manifest_of(&fixture, &version.digest);
        let layers = manifest["layers"].as_array().unwrap();
        assert!(layers.iter().any(|layer| layer["digest"] == pack.as_str()), "{manifest}");
        let stored: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
        assert_eq!(stored, version.disk.stored_bytes);
        assert!(fixture.restore(&version.digest).await.unwrap() == changed(seed));
    }
    let all: u64 = fixture
        .blobs()
        .iter()
        .map(|name| fixture.path("blobs/sha256").join(name).metadata().unwrap().len())
        .sum();
    assert!(all < 2 * versions[0].disk.stored_bytes, "{all}");
}

#[tokio::test]
async fn packs_that_went_are_stored_anew() {
    let fixture = Fixture::new();
    let first = publish(&fixture, "web", None, &disk(1)).await;
    let pack = fixture.blob(&pack_of(&fixture, &first).0);
    // One that goes between the capture and the publish ends the publish.
    let known = fixture.layout.known("web", None).await.unwrap();
    let capture = capture_knowing(&fixture.dir, &changed(2), known);
    fs::remove_file(&pack).unwrap();
    let naming = Naming::Fixed("late".parse().unwrap());
    let before = fixture.blobs();
    let error = fixture.layout.publish(&capture, config("web"), &naming).await.unwrap_err();
    assert!(error.to_string().contains("went while a new one was made"), "{error}");
    assert_eq!(fixture.blobs(), before);
    // One that is not there before is not referred to.
    let second = publish(&fixture, "web", Some(&first.digest), &changed(2)).await;
    assert!(fixture.restore(&second.digest).await.unwrap() == changed(2));
}

#[tokio::test]
async fn what_nobody_hashed_is_learnt_by_a_verify() {
    let fixture = Fixture::new();
    let mut capture =
        capture_knowing(&fixture.dir, &disk(1), imgbake_build::KnownChunks::default());
    capture.sha256 = None;
    let version = put(&fixture, "web", &capture).await;
    assert_eq!(version.disk.sha256, None);
    assert_eq!(fixture.resolve("web").await.unwrap().disk.sha256, None);
    let mut record = verified(&version, VerifyStatus::Passed);
    record.disk_sha256 = Some(Digest::sha256(disk(1)));
    record_verify(&*fixture.layout.image("web"), &record).await.unwrap();
    assert_eq!(fixture.resolve("web").await.unwrap().disk.sha256, record.disk_sha256);
    let table = fixture.layout.table(&version.digest).await.unwrap();
    assert_eq!(table, *capture.table);
}

//! What a collection never takes: what it cannot judge stays.

use std::fs;
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_build::BuildErrorKind;
use imgbake_registry::{Clock, GcReport, GcRequest, Layout, Retention};
use imgbake_types::Digest;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::common::{Fixture, disk, names_in};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn request(hours: i64) -> GcRequest {
    GcRequest {
        retention: Retention { keep: Some(1), ..Retention::default() },
        grace: GcRequest::GRACE,
        dry_run: false,
        now: Timestamp::now() + SignedDuration::from_hours(hours),
        clock: None,
    }
}

/// Collects as often as it takes for whatever is not needed to be deleted.
async fn collect(fixture: &Fixture) -> GcReport {
    for hours in [25, 50] {
        fixture.layout.gc(request(hours)).await.unwrap();
    }
    fixture.layout.gc(request(75)).await.unwrap()
}

/// Stores a document and gives its descriptor.
fn put(fixture: &Fixture, media_type: &str, document: &[u8]) -> Value {
    let digest = Digest::sha256(document);
    fs::write(fixture.blob(&digest), document).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": document.len() })
}

/// Adds an entry to `index.json`, as another tool would.
fn name(fixture: &Fixture, entry: Value) {
    let path = fixture.path("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().push(entry);
    fs::write(&path, index.to_string()).unwrap();
}

fn file_of(fixture: &Fixture, descriptor: &Value) -> Utf8PathBuf {
    fixture.blob(&descriptor["digest"].as_str().unwrap().parse().unwrap())
}

fn manifest(layers: &[&Value]) -> Vec<u8> {
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
        "digest": Digest::sha256("{}").to_string()
    });
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": layers })
        .to_string()
        .into_bytes()
}

#[tokio::test]
async fn what_a_document_of_an_unknown_type_names_stays() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    let child = put(&fixture, "application/vnd.other.bytes", b"what only it knows the use of");
    let document = json!({ "parts": { "first": [child["digest"]] } }).to_string();
    let entry = put(&fixture, "application/vnd.other.thing.v9+json", document.as_bytes());
    name(&fixture, entry.clone());
    let lost = put(&fixture, "application/vnd.other.bytes", b"what nothing names");
    let report = collect(&fixture).await;
    assert!(!file_of(&fixture, &lost).exists(), "{report:?}");
    for kept in [&child, &entry] {
        assert!(file_of(&fixture, kept).exists(), "{kept}: {report:?}");
    }
}

/// Another tool names a version's documents under a digest of its own kind: nobody here can follow it.
#[tokio::test]
async fn an_entry_of_another_algorithm_stays_and_so_does_what_it_may_name() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    let layer = put(&fixture, "application/vnd.other.bytes", b"a layer of it");
    let document = manifest(&[&layer]);
    let digest = format!("sha384:{}", "ab".repeat(48));
    fs::create_dir_all(fixture.path("blobs/sha384")).unwrap();
    fs::write(fixture.path("blobs/sha384").join("ab".repeat(48)), &document).unwrap();
    name(&fixture, json!({ "mediaType": MANIFEST, "digest": digest, "size": document.len() }));
    let report = collect(&fixture).await;
    assert!(file_of(&fixture, &layer).exists(), "{report:?}");
    let index = fs::read_to_string(fixture.path("index.json")).unwrap();
    assert!(index.contains(&digest), "{index}");
}

/// Whichever way leads to it first.
#[tokio::test]
async fn a_blob_that_is_a_layer_here_and_an_index_there_keeps_its_children() {
    for layer_first in [true, false] {
        let fixture = Fixture::new();
        fixture.publish("web", 1).await;
        let deepest = put(&fixture, "application/vnd.other.bytes", b"deepest");
        let child = put(&fixture, MANIFEST, &manifest(&[&deepest]));
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
        let index = put(&fixture, INDEX, index.to_string().as_bytes());
        let mut as_layer = index.clone();
        as_layer["mediaType"] = json!("application/vnd.other.bytes");
        let holder = put(&fixture, MANIFEST, &manifest(&[&as_layer]));
        let mut entries = [holder, index];
        if !layer_first {
            entries.reverse();
        }
        for entry in entries {
            name(&fixture, entry);
        }
        let report = collect(&fixture).await;
        for kept in [&child, &deepest] {
            assert!(file_of(&fixture, kept).exists(), "{layer_first}: {report:?}");
        }
    }
}

#[tokio::test]
async fn blobs_without_their_mark_are_damage_and_nothing_is_deleted() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let mark = fixture.path("oci-layout");
    let saved = fs::read(&mark).unwrap();
    fs::remove_file(&mark).unwrap();
    fs::rename(fixture.path("index.json"), fixture.dir.join("index.json")).unwrap();
    let (blobs, files) = (fixture.blobs(), names_in(fixture.layout.root()));
    let again = async || {
        let layout = Layout::open(fixture.layout.root().to_owned())?;
        layout.gc(request(1000)).await
    };
    // Twice: the first look must not make the mark and so hide the loss from the second.
    for _ in 0..2 {
        let error = again().await.unwrap_err().to_string();
        assert!(error.contains("no `oci-layout`: the registry is damaged"), "{error}");
    }
    assert_eq!((fixture.blobs(), names_in(fixture.layout.root())), (blobs, files));
    // Both put back, all of it is there.
    fs::write(&mark, saved).unwrap();
    fs::rename(fixture.dir.join("index.json"), fixture.path("index.json")).unwrap();
    assert!(fixture.restore(&version.digest).await.unwrap() == disk(1));
}

#[tokio::test]
async fn a_clock_that_jumped_stops_a_collection_until_it_is_trusted() {
    let fixture = Fixture::new();
    for seed in [1, 2] {
        fixture.publish("web", seed).await;
    }
    fixture.layout.gc(request(0)).await.unwrap();
    let written: Value =
        serde_json::from_slice(&fs::read(fixture.path("clock.json")).unwrap()).unwrap();
    assert_eq!(written["format"], json!(1), "{written}");
    let (blobs, years) = (fixture.blobs(), Duration::from_hours(24 * 3650));
    let now = Clock::read().unwrap();
    let jumped = Clock { time: now.time + years, ..now };
    let asked = || GcRequest { clock: Some(jumped.clone()), ..request(24 * 3650) };
    for _ in 0..2 {
        let error = fixture.layout.gc(asked()).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Refused);
        assert!(error.help_text().is_some_and(|help| help.contains("--trust-clock")), "{error}");
    }
    assert_eq!(fixture.blobs(), blobs);
    let trusted = fixture.layout.gc(GcRequest { clock: None, ..asked() }).await.unwrap();
    assert!(trusted.deleted_blobs > 0, "{trusted:?}");
    // A note of a newer imgbake, or a torn one, is no reason to stop.
    for other in [r#"{"format": 9, "ticks": 3}"#, "{"] {
        fs::write(fixture.path("clock.json"), other).unwrap();
        fixture.layout.gc(asked()).await.unwrap();
    }
}

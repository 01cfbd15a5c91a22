//! What is attached to a version goes with it, however far from it, and stays with it.

use std::fs;

use imgbake_registry::{GcRequest, Retention};
use imgbake_types::Digest;
use imgbake_types::record::VersionView;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::common::{Fixture, json_of, pack_of};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Stores a blob; gives its descriptor.
fn put(fixture: &Fixture, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::sha256(bytes);
    fs::write(fixture.blob(&digest), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
}

/// A manifest with one layer of these words, about `subject` where it says so itself.
fn manifest(fixture: &Fixture, words: &str, subject: Option<&Digest>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x-statement",
        "config": put(fixture, "application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [put(fixture, "application/x-statement", words.as_bytes())]
    });
    if let Some(subject) = subject {
        let size = fixture.blob(subject).metadata().unwrap().len();
        manifest["subject"] =
            json!({ "mediaType": MANIFEST, "digest": subject.to_string(), "size": size });
    }
    put(fixture, MANIFEST, manifest.to_string().as_bytes())
}

/// Adds a statement to the list of what refers to something; gives the statement's digest.
fn attach(fixture: &Fixture, subject: &Digest, words: &str) -> Digest {
    let statement = manifest(fixture, words, Some(subject));
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [statement] });
    let list = put(fixture, INDEX, list.to_string().as_bytes());
    name(fixture, &format!("web:sha256-{}", subject.hex()), list);
    statement["digest"].as_str().unwrap().parse().unwrap()
}

/// Gives a manifest a name in `index.json`.
fn name(fixture: &Fixture, label: &str, mut descriptor: Value) {
    descriptor["annotations"] = json!({ REF_NAME: label });
    let path = fixture.path("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().push(descriptor);
    fs::write(path, index.to_string()).unwrap();
}

/// Every label, in order.
fn labels(fixture: &Fixture) -> Vec<String> {
    let index: Value =
        serde_json::from_slice(&fs::read(fixture.path("index.json")).unwrap()).unwrap();
    let label = |entry: &Value| entry["annotations"][REF_NAME].as_str().unwrap().to_owned();
    let mut labels: Vec<String> =
        index["manifests"].as_array().unwrap().iter().map(label).collect();
    labels.sort();
    labels
}

/// Publishes a version with statements about it and its manifest, one about each of these, and
/// signatures as cosign names them.
async fn publish(fixture: &Fixture, seed: u64) -> VersionView {
    let version = fixture.publish("web", seed).await;
    let index = json_of(fixture, &version.digest.to_string().into());
    let chunked: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    for (subject, of) in [(&version.digest, "version"), (&chunked, "manifest")] {
        let attestation = attach(fixture, subject, &format!("attestation {of} {seed}"));
        let signature = attach(fixture, &attestation, &format!("signature {of} {seed}"));
        attach(fixture, &signature, &format!("stamp {of} {seed}"));
        let words = format!("cosign {of} {seed}");
        let label = format!("web:sha256-{}.sig", subject.hex());
        name(fixture, &label, manifest(fixture, &words, None));
    }
    version
}

async fn collect(fixture: &Fixture, hours: i64) {
    let request = GcRequest {
        retention: Retention { keep: Some(1), ..Retention::default() },
        grace: GcRequest::GRACE,
        dry_run: false,
        now: Timestamp::now() + SignedDuration::from_hours(hours),
        clock: None,
    };
    fixture.layout.gc(request).await.unwrap();
}

#[tokio::test]
async fn attachments_go_and_stay_with_their_version() {
    let fixture = Fixture::new();
    let first = publish(&fixture, 1).await;
    let (tags, blobs) = (labels(&fixture), fixture.blobs());
    assert_eq!(tags.len(), 1 + 2 * 4, "{tags:?}");
    let second = publish(&fixture, 2).await;
    let mut kept = labels(&fixture);
    kept.retain(|label| !tags.contains(label));
    // The names go at once, the bytes wait.
    let before = fixture.blobs();
    collect(&fixture, 25).await;
    assert_eq!(labels(&fixture), kept);
    assert_eq!(fixture.blobs(), before);
    collect(&fixture, 50).await;
    assert_eq!(labels(&fixture), kept);
    let left = fixture.blobs();
    let shared: Vec<&String> = blobs.iter().filter(|blob| left.contains(blob)).collect();
    assert_eq!(shared, [Digest::sha256("{}").hex()], "of the first only what both have");
    assert!(before.iter().all(|blob| left.contains(blob) || blobs.contains(blob)));
    assert!(fixture.resolve(&format!("web@{}", first.digest)).await.is_err());
    let found = fixture.resolve(&format!("web@{}", second.digest)).await.unwrap();
    assert_eq!(found.version, second.version);
}

/// A pack that a version which stays needs as well keeps what was said of it; what nobody knows stays too.
#[tokio::test]
async fn what_a_kept_version_needs_keeps_its_attachments() {
    let fixture = Fixture::new();
    let first = publish(&fixture, 1).await;
    let (pack, _) = pack_of(&fixture, &first);
    let scan = attach(&fixture, &pack, "scan");
    attach(&fixture, &scan, "signature of the scan");
    let unknown = Digest::sha256("elsewhere");
    let label = format!("web:sha256-{}.sig", unknown.hex());
    name(&fixture, &label, manifest(&fixture, "unknown", None));
    let theirs = format!("db:sha256-{}.sig", first.digest.hex());
    name(&fixture, &theirs, manifest(&fixture, "theirs", None));
    publish(&fixture, 1).await;
    for hours in [25, 50] {
        collect(&fixture, hours).await;
        let left = labels(&fixture);
        for about in [&pack, &scan] {
            assert!(left.contains(&format!("web:sha256-{}", about.hex())), "{left:?}");
        }
        assert!(left.contains(&label) && left.contains(&theirs), "{left:?}");
        assert!(!left.contains(&format!("web:sha256-{}", first.digest.hex())), "{left:?}");
        assert_eq!(left.len(), 1 + 2 * 4 + 2 + 2, "{left:?}");
        assert!(fixture.blob(&scan).exists());
        assert!(fixture.blob(&Digest::sha256("signature of the scan")).exists());
    }
}

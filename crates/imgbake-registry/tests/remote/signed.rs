//! What cosign says of a version under tags of its own goes along, and nothing that was said gets lost.

use std::fs;

use imgbake_registry::transfer::{Copied, End, copy};
use imgbake_registry::{GcRequest, Retention};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets, job::new_id};
use imgbake_testkit::{DockerRegistry, DockerSettings, Habits, TestRegistry};
use imgbake_types::{Digest, EventKind, Target};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fixture::{
    Fixture, MANIFEST, VERSION, descriptor, put_untagged, referrer, seed, version,
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Says something of a manifest as cosign does: a layer for each signature, all of the same payload. Gives
/// the tag and the digest.
fn sign(
    registry: &TestRegistry,
    name: &str,
    end: &str,
    of: &Digest,
    by: &[&str],
) -> (String, Digest) {
    let (config, payload) = (b"{\"os\":\"\"}", format!("{end} of {of}"));
    let layers = by.iter().map(|who| {
        let mut layer = descriptor(PAYLOAD, payload.as_bytes());
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": who });
        layer
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config),
        "layers": layers.collect::<Vec<Value>>()
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    registry.put_blob(name, config);
    registry.put_blob(name, payload.as_bytes());
    let tag = format!("sha256-{}.{end}", of.hex());
    registry.put_manifest(name, &tag, MANIFEST, &manifest);
    (tag, Digest::sha256(manifest))
}

/// A version with all that cosign says of it, of its manifest and of what refers to it, and a tag that is
/// about nothing of it. Gives the tags that belong to it.
fn signed(registry: &TestRegistry, name: &str) -> Vec<(String, Digest)> {
    let digest = seed(registry, name, VERSION, 7);
    let parts = version(VERSION, 7);
    let child = Digest::sha256(&parts.manifest);
    let statement = Digest::sha256(referrer(crate::fixture::INDEX, &parts.index, 7).0);
    sign(registry, name, "sig", &Digest::sha256("other"), &["eve"]);
    let (signature, own) = sign(registry, name, "sig", &digest, &["ada", "bob"]);
    let mut all = vec![(signature, own.clone())];
    for (end, of) in
        [("att", &digest), ("sbom", &digest), ("sig", &child), ("sig", &statement), ("sig", &own)]
    {
        all.push(sign(registry, name, end, of, &["ada"]));
    }
    all.sort();
    all
}

/// The tags of cosign's that a place has, of those that are asked for.
async fn found(fixture: &Fixture, host: &str, name: &str) -> Vec<(String, Digest)> {
    let repository = fixture.repository(host, name).await;
    let mut found = Vec::new();
    for tag in repository.tags().await.unwrap() {
        if [".sig", ".att", ".sbom"].iter().any(|end| tag.ends_with(end)) {
            let digest = repository.tagged(&tag).await.unwrap().unwrap();
            found.push((tag, digest));
        }
    }
    found
}

/// The same of the layout.
fn found_here(fixture: &Fixture) -> Vec<(String, Digest)> {
    let index = fs::read(fixture.layout.root().join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let entries = index["manifests"].as_array().unwrap().iter().filter_map(|entry| {
        let label = entry["annotations"]["org.opencontainers.image.ref.name"].as_str()?;
        let tag = label.strip_prefix("web:").filter(|tag| tag.contains('.'))?;
        let digest = entry["digest"].as_str()?.parse().ok()?;
        tag.starts_with("sha256-").then(|| (tag.to_owned(), digest))
    });
    let mut found: Vec<_> = entries.collect();
    found.sort();
    found
}

#[tokio::test]
async fn signatures_go_along_in_every_direction() {
    for no_referrers in [false, true] {
        let habits = || Habits { no_referrers, ..Habits::default() };
        let fixture = Fixture::new();
        let [one, two, three] = [
            TestRegistry::start(Habits::default()).await,
            TestRegistry::start(habits()).await,
            TestRegistry::start(habits()).await,
        ];
        let expected = signed(&one, "web");
        let place = async |registry: &TestRegistry| fixture.remote(&registry.host(), "web").await;
        // Registry to registry, to layout, to registry.
        let copied = fixture.copy(&place(&one).await, &place(&two).await).await.unwrap();
        assert_eq!(copied.referrers, 2 + expected.len());
        assert_eq!(found(&fixture, &two.host(), "web").await, expected);
        let local = fixture.local("web");
        let copied = fixture.copy(&place(&two).await, &local).await.unwrap();
        assert_eq!(copied.referrers, 2 + expected.len());
        assert_eq!(found_here(&fixture), expected);
        fixture.blobs(); // proved by their names
        fixture.copy(&local, &place(&three).await).await.unwrap();
        assert_eq!(found(&fixture, &three.host(), "web").await, expected);
        // And once more, where all is there.
        let again = fixture.copy(&place(&three).await, &local).await.unwrap();
        assert_eq!((again.moved, again.referrers), (0, 2 + expected.len()));
        assert_eq!(found_here(&fixture), expected);
        // The tags are listed once.
        let lists = |registry: &TestRegistry| {
            registry.requests().iter().filter(|line| line.ends_with("/tags/list")).count()
        };
        assert_eq!(lists(&one), 2, "two pages");
    }
}

/// Copies the version; gives what was warned of.
async fn warned(fixture: &Fixture, from: &End, to: &Destination) -> (Copied, Vec<String>) {
    let (home, id) = (Home::new(fixture.dir.join("home")), new_id("copy"));
    let (events, mut reported) = Events::channel(&id, Secrets::default());
    let job = Job::begin(&home, &id, Cancel::new(), events, Secrets::default()).unwrap();
    let to = match to {
        Destination::Layout => End::local(&fixture.layout, "web").unwrap(),
        Destination::Registry(host) => fixture.remote(host, "web").await,
    };
    let target = Target::Tag(VERSION.to_owned());
    let copied = copy(&job, from, &target, &to, None).await.unwrap();
    job.end().unwrap();
    let mut warnings = Vec::new();
    while let Ok(event) = reported.try_recv() {
        if let EventKind::Notice { message, .. } = event.kind {
            warnings.push(message);
        }
    }
    (copied, warnings)
}

enum Destination {
    Layout,
    Registry(String),
}

impl Destination {
    async fn tags(&self, fixture: &Fixture) -> Vec<(String, Digest)> {
        match self {
            Self::Layout => found_here(fixture),
            Self::Registry(host) => found(fixture, host, "web").await,
        }
    }
}

#[tokio::test]
async fn no_signature_gets_lost() {
    let other = TestRegistry::start(Habits::default()).await;
    for to in [Destination::Layout, Destination::Registry(other.host())] {
        let fixture = Fixture::new();
        let source = TestRegistry::start(Habits::default()).await;
        let digest = seed(&source, "web", VERSION, 7);
        let again = async |by: &[&str]| {
            let (tag, new) = sign(&source, "web", "sig", &digest, by);
            let from = fixture.remote(&source.host(), "web").await;
            let (_, warnings) = warned(&fixture, &from, &to).await;
            let [(name, there)] = &to.tags(&fixture).await[..] else { panic!("one tag") };
            assert_eq!(*name, tag);
            (new, there.clone(), warnings)
        };
        let (first, there, warnings) = again(&["ada"]).await;
        assert!(first == there && warnings.is_empty(), "{warnings:?}");
        // One more signature at the source is one more there.
        let (both, there, warnings) = again(&["ada", "bob"]).await;
        assert!(both == there && warnings.is_empty(), "{warnings:?}");
        // One less takes nothing away there.
        let (_, there, warnings) = again(&["bob"]).await;
        assert!(both == there && warnings.is_empty(), "{warnings:?}");
        // Where each has what the other lacks, people get a message.
        let (new, there, warnings) = again(&["bob", "eve"]).await;
        assert_eq!(there, both);
        let [reported] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(
            reported.contains(&both.to_string()) && reported.contains(&new.to_string()),
            "{reported}"
        );
        assert!(reported.contains(".sig"), "{reported}");
    }
}

#[tokio::test]
async fn a_registry_that_lists_no_tags_gives_its_versions() {
    let fixture = Fixture::new();
    let source = TestRegistry::start(Habits { no_tag_list: true, ..Habits::default() }).await;
    signed(&source, "web");
    let from = fixture.remote(&source.host(), "web").await;
    let (copied, warnings) = warned(&fixture, &from, &Destination::Layout).await;
    assert_eq!(copied.referrers, 2);
    let [reported] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(reported.contains("left out") && reported.contains(&source.host()), "{reported}");
}

#[tokio::test]
async fn docker_registry_keeps_signatures() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let fixture = Fixture::new();
    let source = TestRegistry::start(Habits::default()).await;
    let expected = signed(&source, "web");
    let local = fixture.local("web");
    fixture.copy(&fixture.remote(&source.host(), "web").await, &local).await.unwrap();
    let there = fixture.remote(&docker.host(), "web").await;
    let copied = fixture.copy(&local, &there).await.unwrap();
    assert_eq!(copied.referrers, 2 + expected.len());
    docker.collect_garbage();
    assert_eq!(found(&fixture, &docker.host(), "web").await, expected);
    let other = Fixture::new();
    let there = other.remote(&docker.host(), "web").await;
    other.copy(&there, &other.local("web")).await.unwrap();
    assert_eq!(found_here(&other), expected);
    assert_eq!(other.blobs(), fixture.blobs());
}

/// Docker's types, which cosign writes on request, lead to blobs as OCI's do.
#[tokio::test]
async fn gc_keeps_what_manifests_of_dockers_types_need() {
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let fixture = Fixture::new();
    let source = TestRegistry::start(Habits::default()).await;
    let manifest = |words: &str| {
        source.put_blob("web", b"{}");
        source.put_blob("web", words.as_bytes());
        let layer = descriptor("application/x", words.as_bytes());
        let config = descriptor("application/vnd.docker.container.image.v1+json", b"{}");
        json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer] })
            .to_string()
            .into_bytes()
    };
    let (image, signature) = (manifest("disk"), manifest("signature"));
    let list =
        json!({ "schemaVersion": 2, "mediaType": LIST, "manifests": [descriptor(IMAGE, &image)] });
    let list = list.to_string().into_bytes();
    put_untagged(&source, "web", IMAGE, &image);
    source.put_manifest("web", VERSION, LIST, &list);
    let tag = format!("sha256-{}.sig", Digest::sha256(&list).hex());
    source.put_manifest("web", &tag, IMAGE, &signature);
    let from = fixture.remote(&source.host(), "web").await;
    fixture.copy(&from, &fixture.local("web")).await.unwrap();
    let before = fixture.blobs();
    assert_eq!(before.len(), 3 + 3, "manifests and blobs");
    let request = GcRequest {
        retention: Retention { keep: Some(1), ..Retention::default() },
        grace: SignedDuration::ZERO,
        dry_run: false,
        now: Timestamp::now() + SignedDuration::from_hours(1),
        clock: None,
    };
    fixture.layout.gc(request).await.unwrap();
    assert_eq!(fixture.blobs(), before);
}

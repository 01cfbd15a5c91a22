//! What lies is refused, named, and leaves nothing under a name.

use imgbake_build::BuildErrorKind;
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::{Digest, Target};
use serde_json::{Value, json};

use crate::fixture::{EMPTY, Fixture, INDEX, MANIFEST, VERSION, descriptor, seed};

#[tokio::test]
async fn wrong_bytes_are_refused_and_named() {
    for (habits, part) in [
        (Habits { wrong_blobs: true, ..Habits::default() }, "wrong bytes for the blob"),
        (Habits { wrong_manifests: true, ..Habits::default() }, "another manifest"),
    ] {
        let fixture = Fixture::new();
        let registry = TestRegistry::start(habits).await;
        seed(&registry, "web", VERSION, 5);
        let from = fixture.remote(&registry.host(), "web").await;
        let error = fixture.copy(&from, &fixture.local("web")).await.unwrap_err();
        let reported = error.to_string();
        assert!(reported.contains(part) && reported.contains(&registry.host()), "{reported}");
        assert!(fixture.label(&format!("web:{VERSION}")).is_none());
        assert!(fixture.blobs().is_empty());
        // Nor does another registry get them under a name.
        let to = TestRegistry::start(Habits::default()).await;
        let error =
            fixture.copy(&from, &fixture.remote(&to.host(), "web").await).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(to.tags("web").is_empty());
        // A registry that mends itself is believed again.
        registry.change(|habits| *habits = Habits::default());
        fixture.copy(&from, &fixture.local("web")).await.unwrap();
        fixture.blobs();
    }
}

/// A document under a tag, and what is said of it.
fn documents() -> Vec<(&'static str, Value, &'static str)> {
    let config = descriptor(EMPTY, b"{}");
    let layer = |key: &str, value: Value| {
        let mut layer = descriptor("application/x", b"small");
        layer[key] = value;
        json!({ "mediaType": MANIFEST, "config": config, "layers": [layer] })
    };
    let title =
        |title: &str| layer("annotations", json!({ "org.opencontainers.image.title": title }));
    let many: Vec<Value> = (0..60_000).map(|_| descriptor("application/x", b"small")).collect();
    vec![
        (MANIFEST, layer("size", json!(6)), "wrong bytes"),
        (MANIFEST, layer("size", json!(1)), "wrong bytes"),
        (MANIFEST, layer("size", json!(1_u64 << 60)), "16 TiB"),
        (MANIFEST, layer("size", json!(-1)), "cannot read"),
        (MANIFEST, layer("digest", json!("sha256:../../etc/passwd")), "cannot read"),
        (MANIFEST, layer("digest", json!(Digest::sha256("gone").to_string())), "has no blob"),
        (MANIFEST, layer("mediaType", json!("x\u{1b}[2J")), "media type"),
        (MANIFEST, title("../../etc/cron.d/x"), "leads out"),
        (MANIFEST, title("/etc/passwd"), "leads out"),
        (MANIFEST, layer("urls", json!(["http://169.254.169.254/"])), "urls"),
        (MANIFEST, json!({ "mediaType": MANIFEST, "config": config, "layers": many }), "more than"),
        (MANIFEST, json!({ "mediaType": INDEX, "manifests": [] }), "says it is"),
        (
            INDEX,
            json!({ "mediaType": INDEX, "manifests": [descriptor("text/x", b"")] }),
            "no manifest",
        ),
        (INDEX, json!({ "mediaType": INDEX, "manifests": [descriptor(INDEX, b"gone")] }), "lacks"),
        ("application/x", json!({ "mediaType": "application/x" }), "not known"),
    ]
}

#[tokio::test]
async fn hostile_documents_are_refused() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    registry.put_blob("web", b"{}");
    registry.put_blob("web", b"small");
    let from = fixture.remote(&registry.host(), "web").await;
    for (media_type, document, part) in documents() {
        registry.put_manifest("web", VERSION, media_type, &serde_json::to_vec(&document).unwrap());
        let error = fixture.copy(&from, &fixture.local("web")).await.unwrap_err().to_string();
        let shown: String = document.to_string().chars().take(300).collect();
        assert!(error.contains(part), "{shown}: {error}");
        assert!(!error.chars().any(char::is_control), "{error}");
        assert!(fixture.label(&format!("web:{VERSION}")).is_none() && fixture.blobs().is_empty());
    }
}

#[tokio::test]
async fn indexes_in_indexes_end() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    let mut inner = serde_json::to_vec(&json!({ "mediaType": INDEX, "manifests": [] })).unwrap();
    for _ in 0..8 {
        let outer = json!({ "mediaType": INDEX, "manifests": [descriptor(INDEX, &inner)] });
        registry.put_manifest("web", &Digest::sha256(&inner).to_string(), INDEX, &inner);
        inner = serde_json::to_vec(&outer).unwrap();
    }
    registry.put_manifest("web", VERSION, INDEX, &inner);
    let from = fixture.remote(&registry.host(), "web").await;
    let error = fixture.copy(&from, &fixture.local("web")).await.unwrap_err();
    assert!(error.to_string().contains("deep"), "{error}");
}

#[tokio::test]
async fn a_list_of_referrers_may_lie() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits { no_referrers: true, ..Habits::default() }).await;
    let digest = seed(&registry, "web", VERSION, 5);
    // One that is gone, and one that refers to nothing.
    let plain = json!({ "mediaType": INDEX, "manifests": [] }).to_string().into_bytes();
    registry.put_manifest("web", &Digest::sha256(&plain).to_string(), INDEX, &plain);
    let list = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, b"gone"), descriptor(INDEX, &plain)]
    });
    let tag = format!("sha256-{}", digest.hex());
    registry.put_manifest("web", &tag, INDEX, &serde_json::to_vec(&list).unwrap());
    let from = fixture.remote(&registry.host(), "web").await;
    let copied = fixture.copy(&from, &fixture.local("web")).await.unwrap();
    assert_eq!(copied.referrers, 0);
    // Who adds to such a list leaves out what is gone, and is not held up by it.
    let source = TestRegistry::start(Habits::default()).await;
    seed(&source, "web", VERSION, 5);
    let source = fixture.remote(&source.host(), "web").await;
    let to = fixture.remote(&registry.host(), "web").await;
    assert_eq!(fixture.copy(&source, &to).await.unwrap().referrers, 2);
    let to = fixture.remote(&registry.host(), "web").await;
    assert_eq!(fixture.copy(&to, &fixture.local("web")).await.unwrap().referrers, 2);
}

#[tokio::test]
async fn a_damaged_layout_sends_nothing_under_a_name() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    seed(&registry, "web", VERSION, 5);
    let local = fixture.local("web");
    fixture.copy(&fixture.remote(&registry.host(), "web").await, &local).await.unwrap();
    let big = Digest::sha256(&crate::fixture::version(VERSION, 5).blobs[1]);
    let path = fixture.layout.root().join("blobs/sha256").join(big.hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[99] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let other = TestRegistry::start(Habits::default()).await;
    let to = fixture.remote(&other.host(), "web").await;
    let error = fixture.copy(&local, &to).await.unwrap_err();
    assert!(
        error.to_string().contains(big.hex()) && error.to_string().contains("damaged"),
        "{error}"
    );
    assert_eq!(error.kind(), BuildErrorKind::Failed);
    assert!(other.tags("web").is_empty());
}

#[tokio::test]
async fn a_manifest_without_end_is_not_read() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    registry.put_manifest("web", VERSION, MANIFEST, &vec![b' '; 5 << 20]);
    let repository = fixture.repository(&registry.host(), "web").await;
    let error = repository.manifest(&Target::Tag(VERSION.to_owned())).await.unwrap_err();
    assert!(error.to_string().contains("more than 4096 KiB"), "{error}");
}

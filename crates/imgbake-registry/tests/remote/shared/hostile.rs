//! What lies, lacks or is not there is no layer, and leaves nothing.

use std::time::Duration;

use imgbake_build::{BuildErrorKind, LayerShare};
use imgbake_registry::RemoteShare;
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::{Digest, Target};
use serde_json::{Value, json};

use super::layer::{NAME, comes, key, layer, pull, share, tag};
use crate::fixture::{Fixture, MANIFEST};

/// A registry with the layer `a`.
async fn with_layer(fixture: &Fixture, habits: Habits) -> (TestRegistry, RemoteShare) {
    let registry = TestRegistry::start(habits).await;
    let share = share(&registry.host());
    share.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap();
    (registry, share)
}

#[tokio::test]
async fn wrong_bytes_are_no_layer_until_it_is_pushed_again() {
    let fixture = Fixture::new();
    let (registry, share) = with_layer(&fixture, Habits::default()).await;
    registry.change(|habits| habits.wrong_blobs = true);
    let error = pull(&share, &fixture.job, &fixture.dir, "a").await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Failed);
    assert!(error.to_string().contains("wrong bytes"), "{error}");
    assert!(error.help_text().is_some_and(|help| help.contains("--cache-to")));
    assert!(share.has(&fixture.job, &[key("a")]).await.unwrap().is_empty());
    registry.change(|habits| habits.wrong_blobs = false);
    share.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap();
    assert_eq!(share.has(&fixture.job, &[key("a")]).await.unwrap(), [key("a")]);
    comes(&share, &fixture, "a", 1).await;
}

/// The layer's manifest and config.
async fn documents(fixture: &Fixture, registry: &TestRegistry) -> (Value, Value) {
    let repository = fixture.repository(&registry.host(), NAME).await;
    let raw = repository.manifest(&Target::Tag(tag("a"))).await.unwrap().unwrap();
    let manifest: Value = serde_json::from_slice(&raw.bytes).unwrap();
    let digest: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let size = manifest["config"]["size"].as_u64().unwrap();
    let config = repository.piece(&digest, size, 0..size).await.unwrap();
    (manifest, serde_json::from_slice(&config).unwrap())
}

/// Puts changed documents under the layer's tag, with the digests that they ask for.
fn forge(registry: &TestRegistry, mut manifest: Value, config: Option<&Value>) {
    if let Some(config) = config {
        let bytes = config.to_string();
        manifest["config"]["digest"] = registry.put_blob(NAME, bytes.as_bytes()).into();
        manifest["config"]["size"] = bytes.len().into();
    }
    registry.put_manifest(NAME, &tag("a"), MANIFEST, manifest.to_string().as_bytes());
}

async fn is_refused(fixture: &Fixture, registry: &TestRegistry, what: &str) {
    let share = share(&registry.host());
    let error = pull(&share, &fixture.job, &fixture.dir, "a").await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Failed, "{what}: {error}");
    assert!(share.has(&fixture.job, &[key("a")]).await.unwrap().is_empty(), "{what}");
}

#[tokio::test]
async fn forged_configs_are_refused() {
    let fixture = Fixture::new();
    let (registry, _) = with_layer(&fixture, Habits::default()).await;
    let (manifest, config) = documents(&fixture, &registry).await;
    let names = ["", ".", "..", "../x", "a/b", "/etc/x", "a\0b", "a\nb", "kernel"];
    let lies = names.iter().map(|name| ("name", json!(name))).chain([
        ("size", json!(0)),
        ("size", json!(u64::MAX)),
        ("layers", json!(700)),
        ("layers", json!(0)),
        ("disk", json!({})),
    ]);
    for (field, lie) in lies {
        let mut config = config.clone();
        config["io.imgbake.files"][0][field] = lie.clone();
        forge(&registry, manifest.clone(), Some(&config));
        is_refused(&fixture, &registry, &format!("{field} {lie}")).await;
    }
    // Sizes that agree with each other and not with the bytes.
    for size in [7_u64 << 20, 1 << 62] {
        let mut config = config.clone();
        let file = &mut config["io.imgbake.files"][0];
        (file["size"], file["disk"]["virtual_size"]) = (json!(size), json!(size));
        forge(&registry, manifest.clone(), Some(&config));
        is_refused(&fixture, &registry, &size.to_string()).await;
    }
    // The same empty file, more often than a layer has files.
    let (mut many, mut long) = (config, manifest);
    let (file, table) = (many["io.imgbake.files"][2].clone(), long["layers"][4].clone());
    let numbered = |number: usize| {
        let mut file = file.clone();
        file["name"] = json!(number.to_string());
        file
    };
    many["io.imgbake.files"] = (0..5000).map(numbered).collect();
    long["layers"] = std::iter::repeat_n(table, 5000).collect();
    forge(&registry, long, Some(&many));
    is_refused(&fixture, &registry, "5000 files").await;
}

#[tokio::test]
async fn forged_manifests_are_refused() {
    let fixture = Fixture::new();
    let (registry, _) = with_layer(&fixture, Habits::default()).await;
    let (manifest, _) = documents(&fixture, &registry).await;
    let gone = Digest::sha256("gone").to_string();
    for (part, field, lie) in [
        ("/config", "digest", json!(gone)),
        ("/config", "size", json!(1_u64 << 60)),
        ("/config", "size", json!(5)),
        ("/layers/0", "digest", json!(gone)),
        ("/layers/0", "size", json!(1_u64 << 60)),
        ("/layers/0", "mediaType", json!("x/y")),
        ("/layers/1", "digest", json!(gone)),
        ("/layers/1", "size", json!(5)),
        ("/layers/1", "mediaType", json!("x/y")),
        ("", "layers", json!([])),
    ] {
        let mut forged = manifest.clone();
        forged.pointer_mut(part).unwrap()[field] = lie.clone();
        forge(&registry, forged, None);
        is_refused(&fixture, &registry, &format!("{part} {field} {lie}")).await;
    }
    // No manifest at all: reported, and the next push takes its place.
    registry.put_manifest(NAME, &tag("a"), MANIFEST, br#"{"config":7}"#);
    let share = share(&registry.host());
    assert!(share.has(&fixture.job, &[key("a")]).await.unwrap().is_empty());
    share.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap();
    comes(&share, &fixture, "a", 1).await;
}

/// A pack that the table names and the repository has lost.
#[tokio::test]
async fn a_pack_that_went_is_pushed_again() {
    let fixture = Fixture::new();
    let (whole, _) = with_layer(&fixture, Habits::default()).await;
    let (manifest, config) = documents(&fixture, &whole).await;
    let repository = fixture.repository(&whole.host(), NAME).await;
    let registry = TestRegistry::start(Habits::default()).await;
    for (number, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
        let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
        let size = layer["size"].as_u64().unwrap();
        if number != 1 {
            registry.put_blob(NAME, &repository.piece(&digest, size, 0..size).await.unwrap());
        }
    }
    forge(&registry, manifest, Some(&config));
    is_refused(&fixture, &registry, "a pack went").await;
    let share = share(&registry.host());
    let sent = share.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap();
    assert!(sent > 3 << 20, "{sent}");
    comes(&share, &fixture, "a", 1).await;
}

#[tokio::test]
async fn a_registry_that_is_down_is_an_error_each_time() {
    let fixture = Fixture::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let share = share(&host);
    for _ in 0..2 {
        let errors = [
            share.has(&fixture.job, &[key("a")]).await.unwrap_err(),
            share.push(&fixture.job, layer(&fixture.dir, "a", 1)).await.unwrap_err(),
            pull(&share, &fixture.job, &fixture.dir, "a").await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.to_string().contains(&host), "{error}");
            assert_eq!(error.kind(), BuildErrorKind::Failed);
        }
    }
}

#[tokio::test]
async fn a_cancelled_pull_leaves_nothing() {
    let fixture = Fixture::new();
    let (registry, share) = with_layer(&fixture, Habits::default()).await;
    registry.change(|habits| habits.slow = Duration::from_millis(200));
    let before = registry.sent_bytes();
    let cancel = async {
        while registry.sent_bytes() < before + (1 << 20) {
            tokio::task::yield_now().await;
        }
        fixture.job.cancel().cancel();
    };
    let pulling = pull(&share, &fixture.job, &fixture.dir, "a");
    let (pulled, ()) = tokio::join!(pulling, cancel);
    assert_eq!(pulled.unwrap_err().kind(), BuildErrorKind::Cancelled);
    let pushed = share.push(&fixture.job, layer(&fixture.dir, "b", 2)).await;
    assert_eq!(pushed.unwrap_err().kind(), BuildErrorKind::Cancelled);
    assert_eq!(registry.tags(NAME), [tag("a")]);
}

//! Damaged and foreign layouts: clear errors, no panic.

use std::fs;

use imgbake_build::{BuildErrorKind, Registry};
use imgbake_registry::Layout;
use imgbake_types::record::ListedVersion;
use serde_json::{Value, json};

use crate::common::{Fixture, capture, disk, json_of, manifest_of, pack_of, scribble};

#[tokio::test]
async fn a_damaged_blob_is_named_with_its_version() {
    for (damage, said) in [
        ("flip", "is damaged: from byte "),
        ("cut", "is damaged: it has"),
        ("remove", "is missing"),
    ] {
        let fixture = Fixture::new();
        let version = fixture.publish("web", 1).await;
        let (pack, size) = pack_of(&fixture, &version);
        let path = fixture.blob(&pack);
        match damage {
            "flip" => scribble(&path, size / 2, b"damaged"),
            "cut" => fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let error = fixture.restore(&version.digest).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&pack.to_string()) && text.contains("web:2026.11.23-1"), "{text}");
        assert!(text.contains(said), "{damage}: {text}");
        // What is published again with the same bytes mends it.
        fixture.publish("web", 1).await;
        assert!(fixture.restore(&version.digest).await.unwrap() == disk(1));
    }
}

#[tokio::test]
async fn a_disk_that_is_not_the_captured_one_is_told() {
    let fixture = Fixture::new();
    let mut capture = capture(&fixture.dir, &disk(1));
    capture.sha256 = Some(imgbake_types::Digest::sha256("another"));
    let naming = imgbake_build::Naming::Fixed("cut".parse().unwrap());
    let version =
        fixture.layout.publish(&capture, crate::common::config("web"), &naming).await.unwrap();
    let error = fixture.restore(&version.digest).await.unwrap_err().to_string();
    assert!(error.contains("the disk of web:cut is not what was captured"), "{error}");
    assert!(error.contains(&version.disk.sha256.unwrap().to_string()), "{error}");
}

#[tokio::test]
async fn a_pack_that_is_not_what_was_said_is_not_published() {
    let fixture = Fixture::new();
    let capture = capture(&fixture.dir, &disk(1));
    scribble(&capture.packs[0].path, capture.packs[0].size, b"more");
    let naming = imgbake_build::Naming::Fixed("1".parse().unwrap());
    let error =
        fixture.layout.publish(&capture, crate::common::config("web"), &naming).await.unwrap_err();
    assert!(error.to_string().contains("not the"), "{error}");
    assert!(fixture.blobs().is_empty());
}

#[tokio::test]
async fn a_damaged_index_is_told() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    let path = fixture.path("index.json");
    let good = fs::read_to_string(&path).unwrap();
    let long = format!("{good}{}", " ".repeat(65 << 20));
    for bad in [
        "",
        "{",
        "[]",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":1,\"manifests\":[]}",
        "\u{0}",
        &long,
    ] {
        fs::write(&path, bad).unwrap();
        let error = fixture.layout.versions(None).await.unwrap_err();
        assert!(error.to_string().contains("index.json"), "{error}");
        let error =
            crate::common::publish(&fixture.layout, &fixture.dir, "web", 2).await.unwrap_err();
        assert!(error.to_string().contains("index.json"), "{error}");
        assert!(fixture.layout.sweep().await.is_ok());
    }
    fs::remove_file(&path).unwrap();
    assert!(fixture.layout.versions(None).await.unwrap_err().to_string().contains("is missing"));
    fs::write(&path, good).unwrap();
    assert_eq!(fixture.layout.versions(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_damaged_document_is_told() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let index = json_of(&fixture, &version.digest.to_string().into());
    let digest = |value: &Value| value["digest"].as_str().unwrap().parse().unwrap();
    let manifest = digest(&index["manifests"][0]);
    let config = digest(&manifest_of(&fixture, &version.digest)["config"]);
    for digest in [&version.digest, &manifest, &config] {
        let path = fixture.blob(digest);
        let good = fs::read(&path).unwrap();
        for bad in [&b""[..], b"{}", &good[..good.len() - 1]] {
            fs::write(&path, bad).unwrap();
            let listed = fixture.layout.versions(None).await.unwrap();
            assert!(matches!(&listed[..], [ListedVersion::Unreadable(_)]), "{listed:?}");
            for error in [
                fixture.resolve("web:2026.11.23-1").await.unwrap_err(),
                fixture.restore(&version.digest).await.unwrap_err(),
            ] {
                assert!(error.to_string().contains("web:2026.11.23-1"), "{error}");
            }
        }
        fs::write(&path, good).unwrap();
    }
}

#[tokio::test]
async fn what_others_put_in_the_layout_stays() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    let path = fixture.path("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let foreign = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,
        "digest": imgbake_types::Digest::sha256("{}").to_string(),
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": "latest"},
    });
    index["manifests"].as_array_mut().unwrap().push(foreign.clone());
    fs::write(&path, index.to_string()).unwrap();
    fixture.publish("web", 2).await;
    let after: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(after["manifests"].as_array().unwrap().contains(&foreign));
    assert_eq!(fixture.layout.versions(None).await.unwrap().len(), 2);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let root = camino::Utf8Path::from_path(temp.path()).unwrap();
    fs::write(root.join("precious"), "1").unwrap();
    let error = Layout::open(root).unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().contains("precious"), "{error}");
    fs::remove_file(root.join("precious")).unwrap();
    fs::write(root.join("oci-layout"), "{\"imageLayoutVersion\":\"9\"}").unwrap();
    assert!(Layout::open(root).unwrap_err().to_string().contains("layout version `9`"));
}

//! What lies is refused and named.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_registry::pull::RemoteVersion;
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Target};
use serde_json::{Value, json};

use super::disks::{With, disk, document, fetch, fetch_new, manifest, push};
use crate::fixture::{Fixture, INDEX, MANIFEST, put_untagged};

#[tokio::test]
async fn wrong_bytes_are_refused() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    for (habits, part) in [
        (Habits { wrong_blobs: true, ..Habits::default() }, "wrong bytes for the blob"),
        (Habits { wrong_manifests: true, ..Habits::default() }, "another manifest"),
    ] {
        registry.change(|now| *now = habits);
        let error = fetch_new(&registry, "web", &version, With::default()).await.unwrap_err();
        let reported = error.to_string();
        assert!(reported.contains(part) && reported.contains(&registry.host()), "{reported}");
    }
}

/// Puts a changed version into another repository of the registry; gives its digest.
fn forge(
    fixture: &Fixture,
    registry: &TestRegistry,
    version: &VersionView,
    change: impl FnOnce(&mut Value, &mut Vec<u8>, &mut Vec<u8>),
) -> Digest {
    let blob = |digest: &Value| {
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        std::fs::read(fixture.layout.root().join("blobs/sha256").join(digest.hex())).unwrap()
    };
    let mut chunked = manifest(fixture, version);
    let mut table = blob(&chunked["layers"][0]["digest"]);
    let mut pack = blob(&chunked["layers"][1]["digest"]);
    let mut config = document(fixture, chunked["config"]["digest"].as_str().unwrap());
    let (old_table, old_pack) = (table.clone(), pack.clone());
    change(&mut chunked, &mut table, &mut pack);
    let put = |bytes: &[u8], entry: &mut Value| {
        entry["digest"] = registry.put_blob("forged", bytes).into();
        entry["size"] = bytes.len().into();
    };
    if pack != old_pack {
        // The table names the pack that is given: only its bytes are wrong.
        let (old, new) = (Digest::sha256(&old_pack), Digest::sha256(&pack));
        let bytes = |digest: &Digest| -> Vec<u8> {
            let hex = digest.hex();
            (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        let (old, new) = (bytes(&old), bytes(&new));
        let at = table.windows(32).position(|window| window == old).unwrap();
        table[at..at + 32].copy_from_slice(&new);
    }
    if chunked["layers"][1]["digest"] == Digest::sha256(&old_pack).to_string() {
        put(&pack, &mut chunked["layers"][1]);
    }
    if table != old_table {
        config["io.imgbake.image"]["disk"]["table"] = Digest::sha256(&table).to_string().into();
    }
    if chunked["layers"][0]["digest"] == Digest::sha256(&old_table).to_string() {
        put(&table, &mut chunked["layers"][0]);
    }
    put(&serde_json::to_vec(&config).unwrap(), &mut chunked["config"]);
    let chunked = serde_json::to_vec(&chunked).unwrap();
    put_untagged(registry, "forged", MANIFEST, &chunked);
    let mut index = document(fixture, &version.digest.to_string());
    index["manifests"][0]["digest"] = Digest::sha256(&chunked).to_string().into();
    index["manifests"][0]["size"] = chunked.len().into();
    let index = serde_json::to_vec(&index).unwrap();
    put_untagged(registry, "forged", INDEX, &index);
    Digest::sha256(&index)
}

async fn refused(registry: &TestRegistry, digest: &Digest) -> BuildError {
    let fixture = Fixture::new();
    let repository = fixture.repository(&registry.host(), "forged").await;
    fetch(&fixture.job, &fixture.dir, &repository, digest, With::default()).await.unwrap_err()
}

#[tokio::test]
async fn forged_versions_are_refused() {
    type Change = fn(&mut Value, &mut Vec<u8>, &mut Vec<u8>);
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    let cases: [(&str, Change); 9] = [
        ("wrong bytes for the pack", |_, _, pack| pack[100_000] ^= 1),
        ("cannot be", |_, table, _| table.truncate(100)),
        ("cannot be", |_, table, _| table[20..24].fill(0xff)),
        ("another size", |_, table, _| table[8] ^= 1),
        ("chunk table of", |chunked, _, _| chunked["layers"][0]["size"] = json!(1_u64 << 40)),
        ("a layer of the type", |chunked, _, _| chunked["layers"][1]["mediaType"] = json!("x/y")),
        ("other packs", |chunked, _, _| chunked["layers"][1]["size"] = json!(5)),
        ("no chunk table", |chunked, _, _| chunked["layers"] = json!([])),
        ("no disk in chunks", |chunked, _, _| chunked["artifactType"] = json!("x/y")),
    ];
    for (part, change) in cases {
        let layers_stay = |chunked: &Value| chunked["layers"].as_array().unwrap().len() == 2;
        let digest =
            if part == "no chunk table" || part == "chunk table of" || part == "other packs" {
                // What the manifest says is what is wrong: the blobs stay.
                let chunked = {
                    let mut chunked = manifest(&fixture, &version);
                    change(&mut chunked, &mut Vec::new(), &mut Vec::new());
                    chunked
                };
                raw(&fixture, &registry, &version, &chunked)
            } else {
                assert!(layers_stay(&manifest(&fixture, &version)));
                forge(&fixture, &registry, &version, change)
            };
        let error = refused(&registry, &digest).await;
        assert!(error.to_string().contains(part), "{part}: {error}");
        assert_eq!(error.kind(), BuildErrorKind::Failed, "{error}");
    }
}

/// Puts a manifest as it is.
fn raw(
    fixture: &Fixture,
    registry: &TestRegistry,
    version: &VersionView,
    chunked: &Value,
) -> Digest {
    let config = document(fixture, chunked["config"]["digest"].as_str().unwrap());
    let old = fixture.layout.root().join("blobs/sha256");
    let config_digest: Digest = chunked["config"]["digest"].as_str().unwrap().parse().unwrap();
    registry.put_blob("forged", &std::fs::read(old.join(config_digest.hex())).unwrap());
    let table: Digest =
        config["io.imgbake.image"]["disk"]["table"].as_str().unwrap().parse().unwrap();
    registry.put_blob("forged", &std::fs::read(old.join(table.hex())).unwrap());
    let chunked = serde_json::to_vec(chunked).unwrap();
    put_untagged(registry, "forged", MANIFEST, &chunked);
    let mut index = document(fixture, &version.digest.to_string());
    index["manifests"][0]["digest"] = Digest::sha256(&chunked).to_string().into();
    index["manifests"][0]["size"] = chunked.len().into();
    let index = serde_json::to_vec(&index).unwrap();
    put_untagged(registry, "forged", INDEX, &index);
    Digest::sha256(&index)
}

#[tokio::test]
async fn what_is_no_version_is_said_to_be_none() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let plain = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] });
    registry.put_manifest("web", "latest", INDEX, &serde_json::to_vec(&plain).unwrap());
    let repository = fixture.repository(&registry.host(), "web").await;
    let error = RemoteVersion::find(&repository, &Target::Tag("latest".to_owned())).await;
    assert!(error.unwrap_err().to_string().contains("no image that imgbake made"));
}

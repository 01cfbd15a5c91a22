//! Chunks come from where they are cheapest.

use std::fs;

use imgbake_build::evidence::record_verify;
use imgbake_build::{Registry, Versions};
use imgbake_registry::RemoteImage;
use imgbake_registry::pull::RemoteVersion;
use imgbake_runtime::Tool;
use imgbake_testkit::{DockerRegistry, DockerSettings, Habits, TestRegistry};
use imgbake_types::Target;
use imgbake_types::record::{VerifyRecord, VerifyStatus};

use super::disks::{With, child, disk, fetch, fetch_new, manifest, publish, push};
use crate::fixture::{Fixture, MIB};

/// Bytes of the packs that a version has and another has not.
fn new_pack_bytes(
    fixture: &Fixture,
    old: &imgbake_types::record::VersionView,
    new: &imgbake_types::record::VersionView,
) -> u64 {
    let old = manifest(fixture, old);
    let known = old["layers"].as_array().unwrap();
    let new = manifest(fixture, new);
    let layers = new["layers"].as_array().unwrap()[1..].iter();
    let added = layers.filter(|layer| !known.contains(layer));
    added.map(|layer| layer["size"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_cold_pull_is_the_disk() {
    for habits in [
        Habits::default(),
        Habits { ignores_range: true, ..Habits::default() },
        Habits { redirects: true, busy_every: 3, ..Habits::default() },
    ] {
        let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
        let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
        registry.change(|now| *now = habits);
        let before = registry.sent_bytes();
        let (came, bytes) = fetch_new(&registry, "web", &version, With::default()).await.unwrap();
        assert!(bytes == disk(1));
        assert_eq!((came.kept, came.local, came.seeds), (0, 0, 0));
        let stored = version.disk.stored_bytes;
        let sent = registry.sent_bytes() - before;
        assert!(came.moved < stored + stored / 20, "{came:?} of {stored}");
        // One that gives no pieces gives each pack once.
        assert!(sent < stored + stored / 20, "{sent} of {stored}");
    }
}

#[tokio::test]
async fn the_disk_is_sparse_and_what_is_twice_moves_once() {
    use std::os::unix::fs::MetadataExt;
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    let repository = fixture.repository(&registry.host(), "web").await;
    let (came, _) =
        fetch(&fixture.job, &fixture.dir, &repository, &version.digest, With::default())
            .await
            .unwrap();
    assert!(came.moved < 13 * MIB as u64, "{came:?}");
    let taken = fs::metadata(fixture.dir.join("part")).unwrap().blocks() * 512;
    assert!(taken <= 14 * MIB as u64, "{taken}");
}

#[tokio::test]
async fn what_is_at_hand_is_not_moved() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let parent = push(&fixture, &registry.host(), "web", &disk(1)).await;
    let version = push(&fixture, &registry.host(), "web", &child(disk(1))).await;
    let needed = new_pack_bytes(&fixture, &parent, &version);
    assert!(needed > 0 && needed < 2 * MIB as u64, "{needed}");

    // A layout that has the parent, under another name.
    let other = Fixture::new();
    publish(&other, "base", &disk(1)).await;
    let seed = other.dir.join("seed.raw");
    fs::write(&seed, disk(1)).unwrap();
    let damaged = other.dir.join("damaged.raw");
    let mut bytes = disk(1);
    bytes[2 * MIB] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let qcow2 = other.dir.join("seed.qcow2");
    let convert = Tool::new("qemu-img", "qemu-utils").command().unwrap();
    let convert = convert.args(["convert", "-O", "qcow2", seed.as_str(), qcow2.as_str()]);
    convert.run(&other.job).await.unwrap();
    let moved = |seed: &camino::Utf8Path| With { seeds: vec![seed.to_owned()], ..With::default() };
    for (what, with, spare) in [
        ("layout", With { layout: Some(other.layout.clone()), ..With::default() }, 0),
        ("raw", moved(&seed), 0),
        ("qcow2", moved(&qcow2), 0),
        ("damaged", moved(&damaged), 600_000),
    ] {
        let before = registry.sent_bytes();
        let (came, bytes) = fetch_new(&registry, "web", &version, with).await.unwrap();
        assert!(bytes == child(disk(1)), "{what}");
        let sent = registry.sent_bytes() - before;
        assert!(sent <= came.moved && came.moved < sent + 4096, "{what}: {sent} {came:?}");
        assert!(sent * 100 <= (needed + spare) * 115, "{what}: {sent}, needed {needed}");
        assert!(came.local + came.seeds > 11 * MIB as u64, "{what}: {came:?}");
    }
    // The version itself is here: nothing but its documents moves.
    let with = With { layout: Some(fixture.layout.clone()), ..With::default() };
    let (came, bytes) = fetch_new(&registry, "web", &version, with).await.unwrap();
    assert!(bytes == child(disk(1)) && came.moved < 64 << 10, "{came:?}");
}

#[tokio::test]
async fn a_damaged_local_pack_is_no_hindrance() {
    let (fixture, registry) = (Fixture::new(), TestRegistry::start(Habits::default()).await);
    let version = push(&fixture, &registry.host(), "web", &disk(1)).await;
    let pack = manifest(&fixture, &version)["layers"][1]["digest"].as_str().unwrap().to_owned();
    let path = fixture.layout.root().join("blobs/sha256").join(&pack["sha256:".len()..]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5 * MIB..5 * MIB + 10].fill(7);
    fs::write(&path, bytes).unwrap();
    let with = With { layout: Some(fixture.layout.clone()), ..With::default() };
    let (came, bytes) = fetch_new(&registry, "web", &version, with).await.unwrap();
    assert!(bytes == disk(1));
    assert!(came.moved < MIB as u64 && came.local > 10 * MIB as u64, "{came:?}");
}

#[tokio::test]
async fn a_registry_shows_its_versions() {
    for no_referrers in [false, true] {
        let fixture = Fixture::new();
        let registry = TestRegistry::start(Habits { no_referrers, ..Habits::default() }).await;
        let version = publish(&fixture, "web", &disk(1)).await;
        let record = VerifyRecord {
            subject: version.digest.clone(),
            time: "2026-11-23T12:00:00Z".parse().unwrap(),
            status: VerifyStatus::Passed,
            tests: Vec::new(),
            seconds: 20.0,
            disk_sha256: None,
        };
        record_verify(&*fixture.layout.image("web"), &record).await.unwrap();
        let (from, to) = (fixture.local("web"), fixture.remote(&registry.host(), "web").await);
        let target = Target::Tag(version.version.to_string());
        let copy = imgbake_registry::transfer::copy;
        copy(&fixture.job, &from, &target, &to, None).await.unwrap();
        copy(&fixture.job, &from, &target, &to, Some("prod")).await.unwrap();
        let repository = fixture.repository(&registry.host(), "web").await;
        let all = RemoteImage::new(&fixture.job, repository.clone()).versions().await.unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(
            (all[0].digest(), all[0].channels()),
            (&version.digest, &["prod".to_owned()][..])
        );
        assert_eq!(all[0].readable().unwrap().verify.status, VerifyStatus::Passed);
        let prod = Target::Tag("prod".to_owned());
        let found = RemoteVersion::find(&repository, &prod).await.unwrap();
        assert!(found.is_channel("prod") && !found.is_channel(version.version.as_str()));
        assert_eq!(found.view(Vec::new()).await.unwrap().name, repository.label());
        let none = RemoteVersion::find(&repository, &Target::Tag("none".to_owned())).await;
        assert!(none.unwrap_err().to_string().contains("there is no"));
    }
}

/// `skopeo copy --all` to a real registry and back keeps the digest, and nothing of imgbake's is needed
/// to pull from there.
#[tokio::test]
async fn skopeo_and_docker_registry_carry_versions() {
    let skopeo = async |fixture: &Fixture, args: [&str; 2]| {
        let command = Tool::new("skopeo", "skopeo").command().unwrap();
        let command = command.args(["--insecure-policy", "copy", "--all"]);
        let command =
            command.args(["--src-tls-verify=false", "--dest-tls-verify=false"]).args(args);
        command.run(&fixture.job).await.unwrap();
    };
    let (fixture, docker) = (Fixture::new(), DockerRegistry::start(DockerSettings::default()));
    let version = publish(&fixture, "web", &disk(1)).await;
    let label = format!("web:{}", version.version);
    let (root, out) = (fixture.layout.root(), fixture.dir.join("out"));
    let there = format!("docker://{}/{label}", docker.host());
    skopeo(&fixture, [&format!("oci:{root}:{label}"), &there]).await;
    skopeo(&fixture, [&there, &format!("oci:{out}:{label}")]).await;
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], version.digest.to_string());

    let other = Fixture::new();
    let repository = other.repository(&docker.host(), "web").await;
    let tag = Target::Tag(version.version.to_string());
    assert_eq!(RemoteVersion::find(&repository, &tag).await.unwrap().digest(), &version.digest);
    let (came, bytes) =
        fetch(&other.job, &other.dir, &repository, &version.digest, With::default()).await.unwrap();
    assert!(bytes == disk(1));
    assert!(came.moved < version.disk.stored_bytes + (64 << 10), "{came:?}");
    assert!(!repository.ignores_ranges());
}

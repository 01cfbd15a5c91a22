//! Publish, list, resolve, restore, verify records.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use imgbake_build::evidence::record_verify;
use imgbake_build::{BuildErrorKind, Naming, Registry, Whole};
use imgbake_registry::Layout;
use imgbake_types::Digest;
use imgbake_types::record::VerifyStatus;

use crate::common::{Fixture, MIB, capture, config, disk, publish, verified};

#[tokio::test]
async fn a_disk_comes_back_byte_for_byte() {
    let fixture = Fixture::new();
    let version = fixture.publish("team/web", 1).await;
    assert_eq!(version.version.as_str(), "2026.11.23-1");
    assert_eq!(version.disk.virtual_size, 6 * MIB as u64);
    assert!(version.disk.stored_bytes > MIB as u64 && version.disk.data_bytes < 2 * MIB as u64);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let path = fixture.dir.join("disk.raw");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let reported = seen.clone();
    let progress = Box::new(move |bytes| reported.lock().unwrap().push(bytes));
    let layout = &fixture.layout;
    let found = layout.restore(&version.digest, file, Whole::Hash, progress).await.unwrap();
    assert_eq!(found, version.disk.sha256);
    assert_eq!(found, Some(Digest::sha256(disk(1))));

    assert!(fs::read(&path).unwrap() == disk(1), "the bytes are the disk's");
    assert!(path.metadata().unwrap().blocks() * 512 < 3 * MIB as u64, "holes stay holes");
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&(6 * MIB as u64)));
}

#[tokio::test]
async fn an_empty_disk_and_a_disk_without_chunks_come_back() {
    let fixture = Fixture::new();
    for (name, disk) in [("zeros", vec![0; 3 * MIB]), ("none", Vec::new())] {
        let capture = capture(&fixture.dir, &disk);
        let naming = Naming::Fixed(name.parse().unwrap());
        let version = fixture.layout.publish(&capture, config("web"), &naming).await.unwrap();
        assert!(fixture.restore(&version.digest).await.unwrap() == disk);
    }
}

#[tokio::test]
async fn a_version_reads_as_it_was_published() {
    let fixture = Fixture::new();
    let published = fixture.publish("web", 1).await;
    fixture.move_to("web", "dev", &published).await;
    let read = Layout::open(fixture.layout.root())
        .unwrap()
        .resolve(&"web".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (&read.digest, &read.disk, &read.labels),
        (&published.digest, &published.disk, &published.labels)
    );
    assert_eq!(read.channels, ["dev"]);
    assert_eq!(read.verify.status, VerifyStatus::Unverified);
}

#[tokio::test]
async fn the_same_capture_twice_is_two_versions_of_the_same_blobs() {
    let fixture = Fixture::new();
    let first = fixture.publish("web", 1).await;
    let blobs = fixture.blobs().len();
    let second = fixture.publish("web", 1).await;
    assert_ne!(first.digest, second.digest);
    assert_eq!(fixture.blobs().len(), blobs + 3, "a config, a manifest and an index came");
}

#[tokio::test]
async fn versions_are_in_the_order_of_their_publishing() {
    let fixture = Fixture::new();
    for (name, seed) in [("web", 1), ("db", 2), ("web", 3)] {
        fixture.publish(name, seed).await;
    }
    let labels = |views: Vec<imgbake_types::record::VersionView>| {
        views.iter().map(|view| format!("{}:{}", view.name, view.version)).collect::<Vec<_>>()
    };
    assert_eq!(
        labels(fixture.listed(None).await),
        ["web:2026.11.23-1", "db:2026.11.23-1", "web:2026.11.23-2"]
    );
    assert_eq!(labels(fixture.listed(Some("db")).await), ["db:2026.11.23-1"]);
    assert!(fixture.listed(Some("none")).await.is_empty());
}

#[tokio::test]
async fn each_kind_of_reference_resolves() {
    let fixture = Fixture::new();
    let first = fixture.publish("web", 1).await;
    let second = fixture.publish("web", 2).await;
    fixture.move_to("web", "prod", &first).await;
    let digest = format!("web@{}", first.digest);
    let short = format!("web:{}", first.digest.short());
    for (text, expected) in [
        ("web", &second),
        ("web:2026.11.23-1", &first),
        ("web:2026.11.23-2", &second),
        ("web:prod", &first),
        (&digest, &first),
        (&short, &first),
    ] {
        assert_eq!(fixture.resolve(text).await.unwrap().digest, expected.digest, "{text}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_is() {
    let fixture = Fixture::new();
    let empty = fixture.resolve("web").await.unwrap_err();
    assert!(empty.help_text().unwrap().contains("imgbake build"), "{:?}", empty.help_text());
    let first = fixture.publish("debian-web", 1).await;
    fixture.move_to("debian-web", "prod", &first).await;
    for (text, said, help) in [
        ("debain-web", "there is no image debain-web", "did you mean debian-web?"),
        (
            "debian-web:prd",
            "there is no debian-web:prd",
            "did you mean debian-web:prod? channels: prod; versions",
        ),
        ("debian-web:2026.11.23-2", "there is no debian-web:2026.11.23-2", "2026.11.23-1"),
        ("debian-web:prod.history", "there is no debian-web:prod.history", "prod"),
    ] {
        let error = fixture.resolve(text).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::NotFound, "{text}");
        assert_eq!(error.to_string(), said);
        assert!(error.help_text().unwrap().contains(help), "{text}: {:?}", error.help_text());
    }
    let remote = fixture.resolve("reg.example:5000/web:dev").await.unwrap_err();
    assert_eq!(remote.kind(), BuildErrorKind::Usage);
}

#[tokio::test]
async fn the_newest_verify_record_counts() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    let bytes = fs::read(fixture.blob(&version.digest)).unwrap();
    let statuses =
        [VerifyStatus::Failed, VerifyStatus::Passed, VerifyStatus::Failed, VerifyStatus::Passed];
    for (minute, status) in (1..).zip(statuses) {
        let mut record = verified(&version, status);
        record.time += jiff::SignedDuration::from_mins(minute);
        record_verify(&*fixture.layout.image("web"), &record).await.unwrap();
        // One of before, that comes later, is not the newest.
        record.time -= jiff::SignedDuration::from_hours(1);
        record.status = VerifyStatus::Failed;
        record_verify(&*fixture.layout.image("web"), &record).await.unwrap();
        let view = fixture.resolve("web").await.unwrap();
        assert_eq!(view.verify.status, status);
        assert_eq!(view.verify.tests.len(), 1);
        assert_eq!(view.stages.last().map(|stage| stage.name.as_str()), Some("verify"));
        assert_eq!(view.digest, version.digest);
    }
    assert_eq!(
        fs::read(fixture.blob(&version.digest)).unwrap(),
        bytes,
        "the version itself did not change"
    );
    let mut lost = verified(&version, VerifyStatus::Passed);
    lost.subject = imgbake_types::Digest::sha256("nothing");
    let error = record_verify(&*fixture.layout.image("web"), &lost).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound);
}

#[tokio::test]
async fn ten_tasks_publish_ten_versions() {
    let fixture = Fixture::new();
    let tasks: Vec<_> = (0..10)
        .map(|seed| {
            let (layout, dir) = (fixture.layout.clone(), fixture.dir.clone());
            tokio::spawn(async move {
                publish(&layout, &dir, "web", seed).await.unwrap().version.to_string()
            })
        })
        .collect();
    let mut names = Vec::new();
    for task in tasks {
        names.push(task.await.unwrap());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 10);
    assert_eq!(fixture.listed(Some("web")).await.len(), 10);
}

//! Collecting: what goes, what never does.

use std::fs::File;
use std::time::Duration;

use imgbake_build::evidence::record_verify;
use imgbake_build::{Naming, Registry, Whole};
use imgbake_registry::{GcReport, GcRequest, Retention};
use imgbake_types::record::VerifyStatus;
use jiff::{SignedDuration, Timestamp};

use crate::common::{Fixture, MIB, capture_knowing, config, disk, names_in, verified};

/// A moment after which every file of a test is older than a day.
fn later(hours: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(hours)
}

fn request(retention: Retention, now: Timestamp) -> GcRequest {
    GcRequest { retention, grace: GcRequest::GRACE, dry_run: false, now, clock: None }
}

fn keep(keep: usize) -> Retention {
    Retention { keep: Some(keep), ..Retention::default() }
}

async fn gc(fixture: &Fixture, request: GcRequest) -> GcReport {
    fixture.layout.gc(request).await.unwrap()
}

async fn versions(fixture: &Fixture) -> Vec<String> {
    let versions = fixture.listed(None).await;
    versions.iter().map(|version| version.version.to_string()).collect()
}

#[tokio::test]
async fn without_rules_every_version_stays() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    let before = fixture.blobs();
    let report = gc(&fixture, request(Retention::default(), later(1000))).await;
    assert_eq!((report.deleted_blobs, report.waiting_blobs), (0, 0));
    assert!(report.versions.iter().all(|version| version.kept && version.own_bytes > 0));
    assert_eq!(fixture.blobs(), before);
}

#[tokio::test]
async fn versions_go_by_rule_and_their_blobs_after_the_grace_period() {
    let fixture = Fixture::new();
    let mut published = Vec::new();
    for seed in 1..=4 {
        published.push(fixture.publish("web", seed).await);
    }
    for proved in [&published[0], &published[3]] {
        let record = verified(proved, VerifyStatus::Passed);
        record_verify(&*fixture.layout.image("web"), &record).await.unwrap();
    }
    fixture.move_to("web", "prod", &published[1]).await;
    let before = fixture.blobs();

    let mut dry = request(keep(1), later(25));
    dry.dry_run = true;
    let planned = gc(&fixture, dry).await;
    let kept: Vec<bool> = planned.versions.iter().map(|version| version.kept).collect();
    assert_eq!(kept, [false, true, false, true], "{planned:?}");
    assert!(planned.waiting_bytes > 0 && planned.deleted_bytes == 0);
    assert_eq!(versions(&fixture).await.len(), 4, "a dry run changes nothing");
    assert_eq!(fixture.blobs(), before);

    // The names go at once, the bytes wait.
    let first = gc(&fixture, request(keep(1), later(25))).await;
    assert_eq!((first.deleted_blobs, first.waiting_blobs), (0, planned.waiting_blobs));
    assert_eq!(versions(&fixture).await, ["2026.11.23-2", "2026.11.23-4"]);
    assert_eq!(fixture.blobs(), before);

    let second = gc(&fixture, request(keep(1), later(50))).await;
    assert_eq!((second.deleted_blobs, second.waiting_blobs), (first.waiting_blobs, 0));
    assert_eq!(second.deleted_bytes, first.waiting_bytes);
    assert_eq!(fixture.blobs().len(), before.len() - second.deleted_blobs);
    for (version, seed) in [(&published[1], 2), (&published[3], 4)] {
        assert!(fixture.restore(&version.digest).await.unwrap() == disk(seed));
    }
    assert_eq!(fixture.history("web", "prod").await.unwrap().len(), 1);
    let third = gc(&fixture, request(keep(1), later(100))).await;
    assert_eq!((third.deleted_blobs, third.waiting_blobs), (0, 0));
    // A number is never given twice, even where the versions before are gone.
    assert_eq!(fixture.publish("web", 5).await.version.to_string(), "2026.11.23-5");
}

#[tokio::test]
async fn what_is_wanted_again_is_no_longer_condemned() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    let first = gc(&fixture, request(keep(1), later(25))).await;
    assert!(first.waiting_blobs > 0);
    // The same disk as the version that went: its packs are there still.
    let again = fixture.publish("web", 1).await;
    gc(&fixture, request(keep(2), later(100))).await;
    assert!(fixture.restore(&again.digest).await.unwrap() == disk(1));
}

#[tokio::test]
async fn a_hold_keeps_a_version() {
    let fixture = Fixture::new();
    let held = fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    let reference = "web:2026.11.23-1".parse().unwrap();
    fixture.layout.hold(&reference, "audit of May").await.unwrap();
    assert!(fixture.resolve("web:2026.11.23-1").await.unwrap().channels.is_empty());
    for hours in [25, 50] {
        gc(&fixture, request(keep(1), later(hours))).await;
    }
    assert!(fixture.restore(&held.digest).await.unwrap() == disk(1));
    fixture.layout.release(&reference).await.unwrap();
    assert!(fixture.layout.release(&reference).await.is_err(), "there is none any more");
    gc(&fixture, request(keep(1), later(25))).await;
    assert_eq!(versions(&fixture).await, ["2026.11.23-2"]);
}

#[tokio::test]
async fn what_is_being_pulled_stays() {
    let fixture = Fixture::new();
    let pulled = fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    let (started, waits) = std::sync::mpsc::channel();
    let (go_on, paused) = std::sync::mpsc::channel::<()>();
    let (layout, digest) = (fixture.layout.clone(), pulled.digest.clone());
    let path = fixture.dir.join("slow.raw");
    let file = File::create(&path).unwrap();
    let mut first = true;
    let pull = tokio::spawn(async move {
        let progress = move |_| {
            if std::mem::take(&mut first) {
                started.send(()).unwrap();
                paused.recv_timeout(Duration::from_secs(60)).unwrap();
            }
        };
        layout.restore(&digest, file, Whole::Hash, Box::new(progress)).await
    });
    tokio::task::spawn_blocking(move || waits.recv_timeout(Duration::from_secs(60)).unwrap())
        .await
        .unwrap();
    for hours in [25, 50] {
        // However short the grace period: this is no matter of time.
        let grace = if hours == 50 { SignedDuration::ZERO } else { GcRequest::GRACE };
        let report = gc(&fixture, GcRequest { grace, ..request(keep(1), later(hours)) }).await;
        assert_eq!(report.deleted_blobs, 0, "{report:?}");
        assert_eq!(report.versions[0].reason, "is being pulled");
    }
    go_on.send(()).unwrap();
    pull.await.unwrap().unwrap();
    assert!(std::fs::read(&path).unwrap() == disk(1));
    assert!(names_in(&fixture.path("leases")).is_empty());
    gc(&fixture, request(keep(1), later(25))).await;
    assert_eq!(versions(&fixture).await, ["2026.11.23-2"]);
}

#[tokio::test]
async fn what_killed_pulls_left_keeps_nothing() {
    let fixture = Fixture::new();
    let version = fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    std::fs::create_dir_all(fixture.path("leases")).unwrap();
    let dead = fixture.path("leases").join(format!("{}.dead", version.digest.hex()));
    File::create(&dead).unwrap();
    gc(&fixture, request(keep(1), later(25))).await;
    assert!(!dead.exists());
    assert_eq!(versions(&fixture).await, ["2026.11.23-2"]);
}

/// A version's pack of which a later one uses a part: what it does not use is reported while the pack stays.
#[tokio::test]
async fn bytes_that_no_version_uses_are_told() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    let known = fixture.layout.known("web", None).await.unwrap();
    let mut half = disk(1);
    half[3 * MIB + 500_000..5 * MIB].fill(0);
    let capture = capture_knowing(&fixture.dir, &half, known);
    let naming = Naming::Fixed("half".parse().unwrap());
    fixture.layout.publish(&capture, config("web"), &naming).await.unwrap();
    // One that has nothing to do with it, twice: its table is one.
    for _ in 0..2 {
        fixture.publish("db", 3).await;
    }
    let dry = async |retention: Retention| {
        let report =
            gc(&fixture, GcRequest { dry_run: true, ..request(retention, later(25)) }).await;
        let of = |name: &str| {
            let version = report.versions.iter().find(|cost| cost.version.as_str() == name);
            version.unwrap().dead_bytes
        };
        (report.dead_bytes, of("half"), report)
    };
    let (all, half, report) = dry(Retention::default()).await;
    assert_eq!((all, half), (Some(0), Some(0)), "{report:?}");
    let (all, half, report) = dry(keep(1)).await;
    let dead = half.unwrap();
    assert!((400_000..700_000).contains(&dead), "{report:?}");
    assert_eq!(all, Some(dead));
    let goes = report.versions.iter().find(|cost| !cost.kept && cost.name == "web").unwrap();
    assert_eq!(goes.dead_bytes, None, "of what goes it is no question");
    // A run that works does not read all tables for it.
    let report = gc(&fixture, request(keep(1), later(25))).await;
    assert_eq!(report.dead_bytes, None);
    assert_eq!(dry(Retention::default()).await.0, Some(dead));
    // A table that cannot be read is no reason not to collect: then it is not known.
    let table = report.versions.iter().find(|cost| cost.version.as_str() == "half").unwrap();
    let table = fixture.resolve(&format!("web@{}", table.digest)).await.unwrap().disk.table;
    crate::common::scribble(&fixture.blob(&table), 40, b"rust");
    let (all, half, report) = dry(keep(1)).await;
    assert_eq!((all, half), (None, None), "{report:?}");
}

#[tokio::test]
async fn builds_that_failed_take_no_good_version_away() {
    let fixture = Fixture::new();
    let mut published = Vec::new();
    for seed in 1..=5 {
        published.push(fixture.publish("web", seed).await);
    }
    let image = fixture.layout.image("web");
    for (version, status) in [
        (&published[0], VerifyStatus::Passed),
        (&published[1], VerifyStatus::Passed),
        (&published[2], VerifyStatus::Failed),
        (&published[4], VerifyStatus::Failed),
    ] {
        record_verify(&*image, &verified(version, status)).await.unwrap();
    }
    let planned = gc(&fixture, GcRequest { dry_run: true, ..request(keep(1), later(25)) }).await;
    let kept: Vec<bool> = planned.versions.iter().map(|version| version.kept).collect();
    // The newest of all, and the newest that passed.
    assert_eq!(kept, [false, true, false, false, true], "{planned:?}");
}

#[tokio::test]
async fn a_version_is_removed_by_name_unless_something_needs_it() {
    let fixture = Fixture::new();
    let mut published = Vec::new();
    for seed in 1..=3 {
        published.push(fixture.publish("web", seed).await);
    }
    fixture.move_to("web", "prod", &published[0]).await;
    let named = |number: usize| format!("web:{}", published[number].version).parse().unwrap();
    fixture.layout.hold(&named(1), "audit").await.unwrap();
    for (number, why) in [(0, "the channel prod points at it"), (1, "it is held: audit")] {
        let error = fixture.layout.remove(&named(number)).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(fixture.layout.remove(&"web".parse().unwrap()).await.is_err());
    // One that cannot be read can be removed as well, and its name is never given again.
    let damaged = fixture.dir.join("registry/blobs/sha256").join(published[2].digest.hex());
    std::fs::write(&damaged, "x").unwrap();
    let removed = fixture.layout.remove(&named(2)).await.unwrap();
    assert_eq!(removed.digest, published[2].digest);
    assert_eq!(versions(&fixture).await.len(), 2);
    let next = fixture.publish("web", 9).await;
    assert!(next.version.to_string() != removed.version, "{}", next.version);
}

//! Copies between all kinds of places.

use std::fs;

use imgbake_build::BuildErrorKind;
use imgbake_oci::OciErrorKind;
use imgbake_registry::transfer::{End, copy};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets, job::new_id};
use imgbake_testkit::{Habits, TestRegistry};
use imgbake_types::{EventKind, Stage, Target};

use crate::fixture::{Fixture, MIB, VERSION, seed, version};

#[tokio::test]
async fn a_version_goes_around_and_keeps_its_digest() {
    for no_referrers in [false, true] {
        let fixture = Fixture::new();
        let habits = || Habits { no_referrers, ..Habits::default() };
        let one = TestRegistry::start(Habits::default()).await;
        let digest = seed(&one, "team/web", VERSION, 7);
        let (from, local) = (fixture.remote(&one.host(), "team/web").await, fixture.local("web"));
        let copied = fixture.copy(&from, &local).await.unwrap();
        assert_eq!((&copied.digest, copied.tag.as_str()), (&digest, VERSION));
        assert_eq!((copied.moved, copied.there, copied.referrers), (7, 0, 2));
        assert!(fixture.label(&format!("web:{VERSION}")).unwrap()["digest"] == digest.to_string());
        let before = fixture.blobs();

        // Out to another registry, and from there to a third place.
        let two = TestRegistry::start(habits()).await;
        let there = fixture.remote(&two.host(), "mirror/web").await;
        let copied = fixture.copy(&local, &there).await.unwrap();
        assert_eq!((&copied.digest, copied.moved, copied.referrers), (&digest, 7, 2));
        let three = TestRegistry::start(habits()).await;
        let last = fixture.remote(&three.host(), "web").await;
        assert_eq!(fixture.copy(&there, &last).await.unwrap().digest, digest);

        // And home again, where all is there already.
        let again = fixture.copy(&last, &local).await.unwrap();
        assert_eq!((again.moved, again.there, again.referrers), (0, 7, 2));
        assert_eq!(fixture.blobs(), before);
        let other = Fixture::new();
        other.copy(&other.remote(&three.host(), "web").await, &other.local("web")).await.unwrap();
        assert_eq!(other.blobs(), before, "no referrers API: {no_referrers}");
    }
}

#[tokio::test]
async fn blobs_are_mounted_within_a_registry() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    let digest = seed(&registry, "team/web", VERSION, 7);
    let from = fixture.remote(&registry.host(), "team/web").await;
    let to = fixture.remote(&registry.host(), "mirror").await;
    let copied = fixture.copy(&from, &to).await.unwrap();
    assert_eq!((copied.mounted, copied.moved, copied.moved_bytes), (7, 0, 0));
    assert_eq!(copied.digest, digest);
    // One that does not mount is sent the bytes.
    registry.change(|habits| habits.never_mounts = true);
    let to = fixture.remote(&registry.host(), "again").await;
    let copied = fixture.copy(&from, &to).await.unwrap();
    assert_eq!((copied.mounted, copied.moved), (0, 7));
    assert_eq!(registry.blobs("again"), registry.blobs("mirror"));
}

#[tokio::test]
async fn a_tag_never_names_something_else() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    seed(&registry, "web", VERSION, 1);
    seed(&registry, "other", VERSION, 2);
    let (web, other) = (
        fixture.remote(&registry.host(), "web").await,
        fixture.remote(&registry.host(), "other").await,
    );
    let local = fixture.local("web");
    fixture.copy(&web, &local).await.unwrap();
    for to in [&local, &web] {
        let error = fixture.copy(&other, to).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Refused);
        assert!(error.to_string().contains("exists already"), "{error}");
    }
    // Another tag is another matter, but not where a version must be called by its name.
    let target = Target::Tag(VERSION.to_owned());
    copy(&fixture.job, &other, &target, &web, Some("2026.11.23-2")).await.unwrap();
    let error = copy(&fixture.job, &other, &target, &local, Some("mine")).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    let error = copy(&fixture.job, &other, &target, &web, Some("sha256-00")).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    let error = copy(&fixture.job, &web, &Target::Tag("none".to_owned()), &local, None).await;
    assert_eq!(error.unwrap_err().kind(), BuildErrorKind::NotFound);
}

#[tokio::test]
async fn a_tag_moves_only_from_where_it_was_believed() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    for (tag, number) in [("one", 1), ("two", 2), ("prod", 1)] {
        seed(&registry, "web", tag, number);
    }
    let repository = fixture.repository(&registry.host(), "web").await;
    let [one, two, prod] = ["one", "two", "prod"].map(|tag| Target::Tag(tag.to_owned()));
    let one = repository.manifest(&one).await.unwrap().unwrap();
    let two = repository.manifest(&two).await.unwrap().unwrap();
    let prod = repository.manifest(&prod).await.unwrap().unwrap();
    repository.move_tag("prod", Some(&prod.digest), &two).await.unwrap();
    let lost = repository.move_tag("prod", Some(&prod.digest), &one).await.unwrap_err();
    assert_eq!(lost.kind(), OciErrorKind::Refused);
    assert!(lost.to_string().contains("somebody else moved"), "{lost}");
    repository.move_tag("new", None, &one).await.unwrap();
    assert_eq!(repository.tagged("new").await.unwrap(), Some(one.digest));
    assert_eq!(repository.tagged("prod").await.unwrap(), Some(two.digest));
}

#[tokio::test]
async fn a_copy_that_was_cut_goes_on() {
    let fixture = Fixture::new();
    let registry = TestRegistry::start(Habits::default()).await;
    let digest = seed(&registry, "web", VERSION, 3);
    let from = fixture.remote(&registry.host(), "web").await;
    // A killed copy left half of a blob, and of another bytes that are none of its own.
    let kept = fixture.job.home().cache().join("transfers");
    fs::create_dir_all(&kept).unwrap();
    let (big, middle) = {
        let mut blobs = version(VERSION, 3).blobs.into_iter().skip(1);
        (blobs.next().unwrap(), blobs.next().unwrap())
    };
    let name = |bytes: &[u8]| imgbake_types::Digest::sha256(bytes).hex().to_owned();
    fs::write(kept.join(name(&big)), &big[..2 * MIB]).unwrap();
    fs::write(kept.join(name(&middle)), vec![7; MIB / 2]).unwrap();
    let copied = fixture.copy(&from, &fixture.local("web")).await.unwrap();
    assert_eq!(copied.digest, digest);
    assert!(registry.sent_bytes() < (big.len() + 2 * middle.len() - MIB) as u64);
    assert_eq!(fixture.blobs().len(), 7 + 4 + 2, "blobs, manifests, two lists");
    let left: Vec<_> = kept.read_dir_utf8().unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(left.len(), 1, "the lock: {left:?}");
}

#[tokio::test]
async fn progress_has_bytes_rate_and_time() {
    let fixture = Fixture::new();
    let habits = Habits { slow: std::time::Duration::from_millis(40), ..Habits::default() };
    let registry = TestRegistry::start(habits).await;
    seed(&registry, "web", VERSION, 3);
    let (home, id) = (Home::new(fixture.dir.join("home")), new_id("copy"));
    let (events, mut reported) = Events::channel(&id, Secrets::default());
    let job = Job::begin(&home, &id, Cancel::new(), events, Secrets::default()).unwrap();
    let from = fixture.remote(&registry.host(), "web").await;
    let target = Target::Tag(VERSION.to_owned());
    let to = End::local(&fixture.layout, "web").unwrap();
    copy(&job, &from, &target, &to, None).await.unwrap();
    let (mut progress, mut rates, mut last) = (0, 0, 0);
    while let Ok(event) = reported.try_recv() {
        match event.kind {
            EventKind::StageProgress { stage: Stage::Copy, done, total: Some(total), .. } => {
                assert!((last..=total).contains(&done), "{last} {done} {total}");
                (last, progress) = (done, progress + 1);
            }
            EventKind::StageStatus { status, .. } if status.contains("/s") => rates += 1,
            EventKind::StageFinished { stage: Stage::Copy, bytes, .. } => {
                assert!(bytes > 4 * MIB as u64);
            }
            _ => {}
        }
    }
    assert!(progress > 3 && rates > 0, "{progress} {rates}");
    job.end().unwrap();
}

//! Names of versions and channels: never used twice, never for both.

use imgbake_build::{BuildError, BuildErrorKind, Naming, Registry};
use imgbake_registry::transfer::{Copied, End, copy};
use imgbake_registry::{GcRequest, Retention};
use imgbake_testkit::channel_move;
use imgbake_types::Target;
use imgbake_types::record::{ChannelMove, ChannelState, VersionView};
use jiff::{SignedDuration, Timestamp};

use crate::common::{Fixture, capture, config, disk, version_ref};
use crate::skopeo::skopeo;

async fn fixed(fixture: &Fixture, version: &str) -> Result<VersionView, BuildError> {
    let capture = capture(&fixture.dir, &disk(9));
    fixture.layout.publish(&capture, config("web"), &Naming::Fixed(version.parse().unwrap())).await
}

#[tokio::test]
async fn a_days_numbers_go_on_after_the_highest() {
    let fixture = Fixture::new();
    fixed(&fixture, "2026.11.23-7").await.unwrap();
    fixed(&fixture, "2026.11.22-9").await.unwrap();
    assert_eq!(fixture.publish("web", 1).await.version.as_str(), "2026.11.23-8");
    assert_eq!(fixture.publish("db", 1).await.version.as_str(), "2026.11.23-1");
}

#[tokio::test]
async fn a_name_is_a_version_or_a_channel_for_ever() {
    let fixture = Fixture::new();
    let version = fixed(&fixture, "1.0").await.unwrap();
    fixture.move_to("web", "dev", &version).await;
    for taken in ["1.0", "dev", "dev.history", "sha256-00"] {
        let error = fixed(&fixture, taken).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{taken}: {error}");
    }
    // A stored name may be one that nobody can write.
    for channel in ["1.0", "2026.11.23-1", "x.history", "sha256-00"] {
        let entry = move_to(channel, &version);
        let error = fixture.swap("web", entry).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{channel}: {error}");
    }
    assert_eq!(fixture.layout.versions(None).await.unwrap().len(), 1);
    assert_eq!(fixture.resolve("web:1.0").await.unwrap().digest, version.digest);
}

/// The first move of a channel that may have a name which nobody can write.
fn move_to(channel: &str, to: &VersionView) -> ChannelMove {
    let entry = channel_move(&ChannelState::default(), "dev", version_ref(to));
    ChannelMove { channel: serde_json::from_value(channel.into()).unwrap(), ..entry }
}

/// Accepts all versions but the newest go.
async fn collect(fixture: &Fixture) {
    let request = GcRequest {
        retention: Retention { keep: Some(1), ..Retention::default() },
        grace: SignedDuration::ZERO,
        dry_run: false,
        now: Timestamp::now() + SignedDuration::from_hours(1),
        clock: None,
    };
    fixture.layout.gc(request).await.unwrap();
}

/// Copies a version of `web` from one layout to the other.
async fn bring(from: &Fixture, to: &Fixture, version: &str) -> Result<Copied, BuildError> {
    let job = to.job();
    let place = |of: &Fixture| End::local(&of.layout, "web").unwrap();
    let copied = copy(&job, &place(from), &Target::Tag(version.to_owned()), &place(to), None).await;
    job.end().unwrap();
    copied
}

#[tokio::test]
async fn a_name_that_gc_took_away_stays_given() {
    let (fixture, other, foreign) = (Fixture::new(), Fixture::new(), Fixture::new());
    let first = fixed(&fixture, "1.0").await.unwrap();
    bring(&fixture, &other, "1.0").await.unwrap();
    let second = fixture.publish("web", 2).await;
    collect(&fixture).await;
    assert_eq!(fixture.resolve("web:1.0").await.unwrap_err().kind(), BuildErrorKind::NotFound);

    let refused = async |there: &VersionView| {
        let error = fixed(&fixture, "1.0").await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "as for one that is there");
        assert!(error.to_string().contains("web:1.0 was a version that gc took away"), "{error}");
        let moved = fixture.swap("web", move_to("1.0", there)).await.unwrap_err();
        assert_eq!(moved.kind(), BuildErrorKind::Usage, "{moved}");
    };
    refused(&second).await;
    // Other tools neither see the record nor take it away.
    let job = fixture.job();
    let (here, there) = (fixture.layout.root(), other.layout.root());
    for (from, to, tag) in [(here, there, second.version.as_str()), (there, here, "1.0")] {
        let place = |root| format!("oci:{root}:web:{tag}");
        skopeo(&job, &["copy", "--all", &place(from), &place(to)]).await;
    }
    job.end().unwrap();
    let third = fixture.publish("web", 5).await;
    collect(&fixture).await;
    refused(&third).await;
    // Another image's names are its own.
    let capture = capture(&fixture.dir, &disk(3));
    let naming = Naming::Fixed("1.0".parse().unwrap());
    fixture.layout.publish(&capture, config("db"), &naming).await.unwrap();

    // Another version of that name does not come in, the same does, however often.
    let mut altered = config("web");
    altered.labels.clear();
    let copy_of = crate::common::capture(&foreign.dir, &disk(4));
    foreign.layout.publish(&copy_of, altered, &naming).await.unwrap();
    for _ in 0..2 {
        let error = bring(&foreign, &fixture, "1.0").await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Refused);
        assert!(error.to_string().contains("was a version that gc took away"), "{error}");
        bring(&other, &fixture, "1.0").await.unwrap();
        assert_eq!(fixture.resolve("web:1.0").await.unwrap().digest, first.digest);
        assert!(fixture.restore(&first.digest).await.unwrap() == disk(9));
        fixture.publish("web", 6).await;
        collect(&fixture).await;
    }
}

#[tokio::test]
async fn a_days_numbers_go_on_after_those_that_are_gone() {
    let fixture = Fixture::new();
    fixture.publish("web", 1).await;
    fixture.publish("web", 2).await;
    fixed(&fixture, "last").await.unwrap();
    collect(&fixture).await;
    assert_eq!(fixture.layout.versions(None).await.unwrap().len(), 1);
    assert_eq!(fixture.publish("web", 3).await.version.as_str(), "2026.11.23-3");
}

/// Without the record nobody knows what is free.
#[tokio::test]
async fn a_record_of_names_that_cannot_be_read_is_told() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("given.json"), "{\"web\": 3}").unwrap();
    let error = fixed(&fixture, "1.0").await.unwrap_err();
    assert!(error.to_string().contains("given.json"), "{error}");
    assert!(error.help_text().unwrap().contains("put it back"), "{error}");
}

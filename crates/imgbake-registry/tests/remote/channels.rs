//! Channels in a registry that compares nothing before it writes: a kill or a wait at any request breaks no
//! history. What every image's channels do is in `conformance.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use imgbake_build::{BuildErrorKind, Channels};
use imgbake_registry::RemoteImage;
use imgbake_testkit::{Habits, Pause, TestRegistry, channel_move};
use imgbake_types::record::{
    ChannelMove, ChannelState, ComposedMove, RecordedMove, Swap, VersionRef,
};
use imgbake_types::{ChannelName, Digest};
use serde_json::json;

use crate::fixture::{EMPTY, Fixture, INDEX, MANIFEST, descriptor, seed, version};

const MOVE: &str = "application/vnd.imgbake.channel-move.v1+json";
const VERSIONS: [&str; 2] = ["2026.11.23-1", "2026.11.23-2"];
/// Far less than in life: nobody who waits here is alive.
const PATIENCE: Duration = Duration::from_millis(30);

fn dev() -> ChannelName {
    "dev".parse().unwrap()
}

/// A registry in this process with two versions of `web`.
async fn registry(habits: Habits) -> TestRegistry {
    let registry = TestRegistry::start(habits).await;
    for (tag, number) in VERSIONS.iter().zip(1..) {
        seed(&registry, "web", tag, number);
    }
    registry
}

async fn image(fixture: &Fixture, host: &str) -> RemoteImage {
    let repository = fixture.repository(host, "web").await;
    RemoteImage::new(&fixture.job, repository).patience(PATIENCE)
}

fn to(number: usize) -> VersionRef {
    let tag = VERSIONS[number];
    let digest = version(tag, number as u64 + 1).digest;
    VersionRef { version: tag.parse().unwrap(), digest }
}

/// A move for where the channel is now.
async fn compose(image: &RemoteImage, number: usize, reason: &str) -> ComposedMove {
    let state = image.state(&dev()).await.unwrap();
    let entry = channel_move(&state, "dev", to(number));
    ComposedMove::new(ChannelMove { reason: Some(reason.to_owned()), ..entry }).unwrap()
}

async fn moved(image: &RemoteImage, number: usize, reason: &str) -> RecordedMove {
    match image.swap(&compose(image, number, reason).await).await.unwrap() {
        Swap::Moved(moved) => moved,
        Swap::Lost(state) => panic!("nobody else moves it: {state:?}"),
    }
}

/// The reasons of all moves, oldest first, of a history that must be whole, where the channel's tag must
/// be as well.
async fn history(image: &RemoteImage) -> Vec<String> {
    let history = image.history(&dev()).await.unwrap();
    for (index, moved) in history.iter().enumerate() {
        let before = history.get(index + 1);
        assert_eq!(moved.entry.number, (history.len() - index) as u64);
        assert_eq!(moved.entry.previous.as_ref(), before.map(|before| &before.record));
        assert_eq!(moved.entry.from.as_ref(), before.map(|before| &before.entry.to));
    }
    let state = image.state(&dev()).await.unwrap();
    assert_eq!(state.head.as_ref(), history.first());
    history.iter().rev().map(|moved| moved.entry.reason.clone().unwrap_or_default()).collect()
}

async fn tag(fixture: &Fixture, host: &str) -> Option<Digest> {
    fixture.repository(host, "web").await.tagged("dev").await.unwrap()
}

/// A mover that is killed before any of its requests: the next one moves the channel, and the history is
/// whole. What the dead one wanted is a move or is none.
#[tokio::test]
async fn a_kill_at_any_request_breaks_nothing() {
    let fixture = Fixture::new();
    let mut finished = BTreeSet::new();
    for after in 0.. {
        let registry =
            registry(Habits { never_deletes: after % 2 == 0, ..Habits::default() }).await;
        let first = image(&fixture, &registry.host()).await;
        moved(&first, 0, "first").await;
        let composed = compose(&first, 1, "killed").await;
        registry.pause(Pause { host: Some(registry.host()), after, ..Pause::default() });
        let mover = tokio::spawn(async move { first.swap(&composed).await.unwrap() });
        let stopped = tokio::select! {
            () = registry.paused(1) => true,
            () = ended(&mover) => false,
        };
        if !stopped {
            assert!(after > 15, "only {after} requests: was anything stopped?");
            break;
        }
        mover.abort();
        assert!(mover.await.unwrap_err().is_cancelled());
        registry.end_pause();

        let next = image(&fixture, &registry.other_host()).await;
        let before = history(&next).await.len();
        // Who expects what was before the dead one's move may lose to it, once.
        let last = match next.swap(&compose(&next, 0, "next").await).await.unwrap() {
            Swap::Moved(last) => last,
            Swap::Lost(state) => {
                let reason = state.head.unwrap().entry.reason;
                assert_eq!((before, reason.as_deref()), (1, Some("killed")));
                moved(&next, 0, "next").await
            }
        };
        let reasons = history(&next).await;
        assert!(
            [&["first", "killed", "next"][..], &["first", "next"]]
                .contains(&&reasons.iter().map(String::as_str).collect::<Vec<_>>()[..]),
            "{reasons:?}"
        );
        assert_eq!(tag(&fixture, &registry.other_host()).await, Some(last.entry.to.digest));
        finished.insert(reasons.len());
    }
    assert_eq!(finished, [2, 3].into(), "some were killed before they were heard, some after");
}

async fn ended<T>(task: &tokio::task::JoinHandle<T>) {
    let mut backoff =
        imgbake_runtime::retry::Backoff::new(Duration::from_millis(5), Duration::from_millis(20));
    while !task.is_finished() {
        backoff.wait().await;
    }
}

/// A mover that is so slow before any of its requests that another one takes it for dead: exactly one of
/// the two moves is made, and each knows which.
#[tokio::test]
async fn a_wait_at_any_request_breaks_nothing() {
    let fixture = Fixture::new();
    let mut winners = BTreeSet::new();
    for after in 0.. {
        let registry = registry(Habits::default()).await;
        let slow = image(&fixture, &registry.host()).await;
        moved(&slow, 0, "first").await;
        let quick = image(&fixture, &registry.other_host()).await;
        let (one, other) = (compose(&slow, 1, "slow").await, compose(&quick, 1, "quick").await);
        registry.pause(Pause { host: Some(registry.host()), after, ..Pause::default() });
        let mover = tokio::spawn(async move { slow.swap(&one).await.unwrap() });
        let stopped = tokio::select! {
            () = registry.paused(1) => true,
            () = ended(&mover) => false,
        };
        if !stopped {
            break;
        }
        let other = quick.swap(&other).await.unwrap();
        registry.resume();
        let one = mover.await.unwrap();
        let reasons = history(&quick).await;
        let winner = match (&one, &other) {
            (Swap::Moved(_), Swap::Lost(_)) => "slow",
            (Swap::Lost(_), Swap::Moved(_)) => "quick",
            both => panic!("after {after} requests: {both:?}"),
        };
        assert_eq!(reasons, ["first", winner]);
        assert_eq!(tag(&fixture, &registry.host()).await, Some(to(1).digest));
        winners.insert(winner);
    }
    assert_eq!(winners.len(), 2, "{winners:?}");
}

/// Somebody who sleeps through the whole move after the next: nothing of the old round comes back.
#[tokio::test]
async fn who_sleeps_through_later_moves_changes_nothing() {
    let fixture = Fixture::new();
    for after in 0.. {
        let registry = registry(Habits::default()).await;
        let slow = image(&fixture, &registry.host()).await;
        let quick = image(&fixture, &registry.other_host()).await;
        let one = compose(&slow, 0, "slow").await;
        registry.pause(Pause { host: Some(registry.host()), after, ..Pause::default() });
        let mover = tokio::spawn(async move { slow.swap(&one).await.unwrap() });
        let stopped = tokio::select! {
            () = registry.paused(1) => true,
            () = ended(&mover) => false,
        };
        if !stopped {
            break;
        }
        let other = compose(&quick, 1, "quick").await;
        let first = quick.swap(&other).await.unwrap();
        moved(&quick, 0, "later").await;
        moved(&quick, 1, "last").await;
        registry.resume();
        let one = mover.await.unwrap();
        let reasons = history(&quick).await;
        let own = reasons.iter().filter(|reason| *reason == "slow").count();
        assert_eq!(own, usize::from(matches!(one, Swap::Moved(_))), "after {after}: {reasons:?}");
        let others = usize::from(matches!(first, Swap::Moved(_)));
        assert_eq!(reasons.len(), own + others + 2, "after {after}: {reasons:?}");
        assert_eq!(tag(&fixture, &registry.host()).await, Some(to(1).digest), "after {after}");
    }
}

/// A channel that another tool made or copied: its tag alone, or its newest record's tag as well.
#[tokio::test]
async fn what_other_tools_copied_goes_on() {
    let fixture = Fixture::new();
    let registry = registry(Habits::default()).await;
    let first = version(VERSIONS[0], 1);
    registry.put_manifest("web", "dev", INDEX, &first.index);
    let image = image(&fixture, &registry.host()).await;
    let state = image.state(&dev()).await.unwrap();
    assert_eq!(state, ChannelState { head: None, target: Some(to(0)) });
    assert_eq!(image.history(&dev()).await.unwrap_err().kind(), BuildErrorKind::NotFound);

    let document = serde_json::to_vec(&json!({
        "channel": "dev", "time": "2026-11-23T11:00:00Z", "who": "ada@host", "action": "promote",
        "reason": "old", "to": { "version": VERSIONS[0], "digest": first.digest }
    }))
    .unwrap();
    registry.put_blob("web", &document);
    let record = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": MOVE,
        "config": descriptor(EMPTY, b"{}"), "layers": [descriptor(MOVE, &document)],
        "subject": descriptor(INDEX, &first.index)
    }))
    .unwrap();
    registry.put_manifest("web", "dev.history", MANIFEST, &record);
    let next = moved(&image, 1, "new").await;
    assert_eq!((next.entry.number, next.entry.from), (2, Some(to(0))));
    assert_eq!(next.entry.previous, Some(Digest::sha256(&record)));
    let history = image.history(&dev()).await.unwrap();
    let reasons: Vec<_> =
        history.iter().filter_map(|moved| moved.entry.reason.as_deref()).collect();
    assert_eq!(reasons, ["new", "old"]);
}

/// The channel's tag follows its records, whoever moved it.
#[tokio::test]
async fn a_tag_that_is_behind_follows() {
    let fixture = Fixture::new();
    let registry = registry(Habits::default()).await;
    let image = image(&fixture, &registry.host()).await;
    moved(&image, 1, "first").await;
    registry.put_manifest("web", "dev", INDEX, &version(VERSIONS[0], 1).index);
    image.settle(&dev()).await.unwrap();
    assert_eq!(tag(&fixture, &registry.host()).await, Some(to(1).digest));
}

#[tokio::test]
async fn what_cannot_be_moved_says_why() {
    let fixture = Fixture::new();
    let registry = registry(Habits::default()).await;
    let image = image(&fixture, &registry.host()).await;
    let state = ChannelState::default();
    let long = "d".repeat(120);
    for channel in [VERSIONS[0], long.as_str()] {
        let channel = serde_json::from_value(channel.into()).unwrap();
        let entry = ChannelMove { channel, ..channel_move(&state, "dev", to(0)) };
        let error = image.swap(&ComposedMove::new(entry).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{error}");
    }
    registry.change(|habits| habits.no_tag_list = true);
    assert!(image.state(&dev()).await.is_err());
}

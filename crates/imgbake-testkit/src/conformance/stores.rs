//! What every store of an image must do: its versions, their evidence, its channels.

use imgbake_build::evidence::{EvidenceItem, EvidenceList, record_verify};
use imgbake_build::{BuildErrorKind, EvidenceKind, Image};
use imgbake_types::record::{
    ChannelMove, ChannelState, ComposedMove, ListedVersion, MoveSignature, RecordedMove, Swap,
    VerifyRecord, VerifyStatus, VersionRef, VersionView,
};
use imgbake_types::{ChannelName, Digest, Target};
use jiff::Timestamp;

use crate::record::channel_move;

/// The suite's own channel.
const CHANNEL: &str = "conformance";
/// How many contend for a channel, and how often.
const CONTENDERS: usize = 10;
const ROUNDS: usize = 3;

/// Runs the suite on an image with at least two versions and without a channel `conformance`. `open`
/// gives the image as another process would have it.
///
/// # Panics
/// The store does not do what it must.
pub async fn image(open: &dyn Fn() -> Box<dyn Image>) {
    let versions = readable(open).await;
    assert!(versions.len() >= 2, "the suite needs two versions");
    names_its_versions(open, &versions).await;
    keeps_evidence_in_order(open, &versions).await;
    the_newest_verify_record_counts(open, &versions).await;
    moves_a_channel(open, &versions).await;
    refuses_moves_that_do_not_fit(open, &versions).await;
    of_many_moves_exactly_one_is_made(open, &versions).await;
    let now = readable(open).await.len();
    assert_eq!(now, versions.len(), "neither evidence nor a channel's record is a version");
}

async fn readable(open: &dyn Fn() -> Box<dyn Image>) -> Vec<VersionView> {
    let listed = open().versions().await.unwrap();
    listed.iter().filter_map(ListedVersion::readable).cloned().collect()
}

fn version_ref(version: &VersionView) -> VersionRef {
    VersionRef { version: version.version.clone(), digest: version.digest.clone() }
}

fn channel() -> ChannelName {
    CHANNEL.parse().unwrap()
}

async fn names_its_versions(open: &dyn Fn() -> Box<dyn Image>, versions: &[VersionView]) {
    let image = open();
    assert!(!image.label().is_empty());
    for version in versions {
        let tag = Target::Tag(version.version.to_string());
        for target in [tag, Target::Digest(version.digest.clone())] {
            let found = image.version(Some(&target)).await.unwrap();
            assert_eq!((&found.version, &found.digest), (&version.version, &version.digest));
        }
    }
    for target in [Target::Tag("no-such".to_owned()), Target::Digest(Digest::sha256("nothing"))] {
        let error = image.version(Some(&target)).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::NotFound, "{error}");
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + second).unwrap()
}

/// What was attached of a kind, and is read in full.
async fn items(image: &dyn Image, subject: &Digest, kind: &EvidenceKind) -> Vec<EvidenceItem> {
    let EvidenceList { items, unreadable } = image.evidence(subject, Some(kind)).await.unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    assert!(items.iter().all(|item| item.kind == *kind));
    items
}

async fn keeps_evidence_in_order(open: &dyn Fn() -> Box<dyn Image>, versions: &[VersionView]) {
    let (subject, other) = (&versions[0].digest, &versions[1].digest);
    let kind = EvidenceKind::new("application/vnd.example.conformance+json");
    let before = open().evidence(subject, None).await.unwrap().items.len();
    assert!(items(&*open(), subject, &kind).await.is_empty());
    let mut attached = Vec::new();
    for (second, document) in [(2, "{\"n\":2}"), (3, "{\"n\":3}"), (1, "{\"n\":1}"), (2, "{}")] {
        let item = open().attach(subject, &kind, time(second), document.into()).await.unwrap();
        assert_eq!((item.time, item.media_type.as_str()), (Some(time(second)), kind.media_type()));
        assert_eq!(item.document, document.as_bytes());
        attached.push(item);
    }
    attached.sort_by(|one, two| (two.time, &two.digest).cmp(&(one.time, &one.digest)));
    assert_eq!(items(&*open(), subject, &kind).await, attached, "the newest first");
    // The same document again is the same evidence.
    let last = &attached[3];
    let again = open().attach(subject, &kind, time(1), last.document.clone()).await.unwrap();
    assert_eq!(again.digest, last.digest);
    assert_eq!(items(&*open(), subject, &kind).await, attached);
    // It is of its kind and its version alone.
    assert_eq!(open().evidence(subject, None).await.unwrap().items.len(), before + attached.len());
    assert!(items(&*open(), other, &kind).await.is_empty());
    // Evidence may be about evidence.
    let about = open().attach(&last.digest, &kind, time(9), b"[]".to_vec()).await.unwrap();
    assert_eq!(items(&*open(), &last.digest, &kind).await, [about]);
    let nothing = Digest::sha256("nothing");
    let error = open().attach(&nothing, &kind, time(1), b"{}".to_vec()).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound, "{error}");
}

async fn the_newest_verify_record_counts(
    open: &dyn Fn() -> Box<dyn Image>,
    versions: &[VersionView],
) {
    let (version, other) = (&versions[0], &versions[1]);
    let record = |subject: &Digest, second: i64, status| VerifyRecord {
        subject: subject.clone(),
        time: time(second),
        status,
        tests: Vec::new(),
        seconds: 1.0,
        disk_sha256: None,
    };
    for (second, status) in
        [(10, VerifyStatus::Failed), (12, VerifyStatus::Passed), (11, VerifyStatus::Failed)]
    {
        record_verify(&*open(), &record(&version.digest, second, status)).await.unwrap();
    }
    // What nobody can read, and what is about another version, is listed and does not count.
    let verify = EvidenceKind::VERIFY;
    let image = open();
    image.attach(&version.digest, &verify, time(20), b"no record".to_vec()).await.unwrap();
    let strange = record(&other.digest, 21, VerifyStatus::Failed);
    let strange = serde_json::to_vec(&strange).unwrap();
    image.attach(&version.digest, &verify, time(21), strange).await.unwrap();
    let list = open().evidence(&version.digest, Some(&verify)).await.unwrap();
    let newest = list.newest_verify(&version.digest);
    let found = newest.record.unwrap();
    assert_eq!((found.time, found.status), (time(12), VerifyStatus::Passed));
    assert_eq!(newest.unreadable.len(), 2, "{:?}", newest.unreadable);
    let target = Target::Digest(version.digest.clone());
    let view = open().version(Some(&target)).await.unwrap().verify;
    assert_eq!((view.status, view.time), (VerifyStatus::Passed, Some(time(12))));
    assert_eq!(view.unreadable.len(), 2);
}

/// The channel's next move, for where it is now.
async fn compose(image: &dyn Image, to: &VersionView) -> ChannelMove {
    channel_move(&image.state(&channel()).await.unwrap(), CHANNEL, version_ref(to))
}

/// Makes a move, with a signature that a store keeps as it is.
async fn swap(image: &dyn Image, entry: ChannelMove) -> Swap {
    let signature = MoveSignature { keyid: "a key".to_owned(), sig: "AA==".to_owned() };
    let composed = ComposedMove::new(entry).unwrap().signed(signature);
    let made = image.swap(&composed).await.unwrap();
    if let Swap::Moved(moved) = &made {
        assert_eq!(
            (&moved.signatures[..], &moved.document[..]),
            (composed.signatures(), composed.bytes())
        );
    }
    made
}

/// A channel's history, which must be whole; the channel must be where it says.
async fn history(open: &dyn Fn() -> Box<dyn Image>) -> Vec<RecordedMove> {
    let image = open();
    let history = image.history(&channel()).await.unwrap();
    for (index, moved) in history.iter().enumerate() {
        let before = history.get(index + 1);
        assert_eq!(moved.entry.number, (history.len() - index) as u64);
        assert_eq!(moved.entry.previous.as_ref(), before.map(|before| &before.record));
        assert_eq!(moved.entry.from.as_ref(), before.map(|before| &before.entry.to));
    }
    let state = image.state(&channel()).await.unwrap();
    assert_eq!(state.head.as_ref(), history.first());
    let target = state.target.unwrap();
    assert_eq!(target, history[0].entry.to);
    let found = image.version(Some(&Target::Tag(CHANNEL.to_owned()))).await.unwrap();
    assert_eq!(version_ref(&found), target);
    // Each version lists its channels.
    for version in readable(open).await {
        let listed = version.channels.iter().any(|name| name == CHANNEL);
        assert_eq!(listed, version.digest == target.digest, "{:?}", version.channels);
    }
    history
}

async fn moves_a_channel(open: &dyn Fn() -> Box<dyn Image>, versions: &[VersionView]) {
    let image = open();
    assert_eq!(image.state(&channel()).await.unwrap(), ChannelState::default());
    let error = image.history(&channel()).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound, "{error}");
    for (number, to) in (1..).zip([&versions[0], &versions[1], &versions[0]]) {
        let entry = compose(&*image, to).await;
        let Swap::Moved(moved) = swap(&*image, entry.clone()).await else {
            panic!("nobody else moves it");
        };
        assert_eq!(moved.entry, entry, "nothing is filled in");
        let history = history(open).await;
        assert_eq!((history.len(), &history[0]), (number, &moved));
    }
    open().settle(&channel()).await.unwrap();
    assert_eq!(history(open).await.len(), 3);
}

async fn refuses_moves_that_do_not_fit(
    open: &dyn Fn() -> Box<dyn Image>,
    versions: &[VersionView],
) {
    let image = open();
    let (here, there) = (&versions[0], &versions[1]);
    let before = history(open).await;
    let right = compose(&*image, there).await;
    for entry in [
        channel_move(&ChannelState::default(), CHANNEL, version_ref(there)),
        ChannelMove { previous: Some(there.digest.clone()), ..right.clone() },
        ChannelMove { from: Some(version_ref(there)), ..right.clone() },
        ChannelMove { from: None, ..right.clone() },
    ] {
        let Swap::Lost(state) = swap(&*image, entry.clone()).await else {
            panic!("a move for another state: {entry:?}");
        };
        assert_eq!(state.head.as_ref(), before.first());
    }
    let lost = VersionRef { version: "no-such".parse().unwrap(), ..version_ref(there) };
    let mixed = VersionRef { version: here.version.clone(), ..version_ref(there) };
    for (entry, kind) in [
        (ChannelMove { number: 70, ..right.clone() }, BuildErrorKind::Failed),
        (ChannelMove { to: lost, ..right.clone() }, BuildErrorKind::NotFound),
        (ChannelMove { to: mixed, ..right.clone() }, BuildErrorKind::Failed),
    ] {
        let error = image.swap(&ComposedMove::new(entry).unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(history(open).await, before);
}

async fn of_many_moves_exactly_one_is_made(
    open: &dyn Fn() -> Box<dyn Image>,
    versions: &[VersionView],
) {
    for round in 0..ROUNDS {
        let before = history(open).await;
        let composed = compose(&*open(), &versions[(round + 1) % 2]).await;
        let contenders: Vec<_> = (0..CONTENDERS)
            .map(|number| {
                let (image, reason) = (open(), Some(format!("{round}-{number}")));
                let entry = ChannelMove { reason, ..composed.clone() };
                tokio::spawn(async move { swap(&*image, entry).await })
            })
            .collect();
        let (mut won, mut lost) = (Vec::new(), Vec::new());
        for contender in contenders {
            match contender.await.unwrap() {
                Swap::Moved(moved) => won.push(moved),
                Swap::Lost(state) => lost.push(state),
            }
        }
        assert_eq!((won.len(), lost.len()), (1, CONTENDERS - 1));
        // Those who lost see who was first.
        assert!(lost.iter().all(|state| state.head.as_ref() == Some(&won[0])));
        let after = history(open).await;
        assert_eq!((after.len(), &after[0]), (before.len() + 1, &won[0]));
    }
}

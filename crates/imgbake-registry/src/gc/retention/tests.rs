use imgbake_testkit::{channel_move, image_config};
use imgbake_types::Reference;
use imgbake_types::record::{ChannelState, ImageConfig, Parent, VersionRef};

use super::*;

fn day(day: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("a time")
        + SignedDuration::from_hours(24 * day)
}

fn digest(text: &str) -> Digest {
    Digest::sha256(text)
}

/// A version of `web` of some day; `parent` is the text of its parent's digest.
fn version(name: &str, number: i64, parent: Option<&str>) -> VersionView {
    let config = ImageConfig {
        version: format!("1.{number}").parse().expect("a version"),
        created: day(number),
        parent: parent.map(|parent| Parent {
            reference: Some(Reference::tag("web", "x")),
            native: None,
            digest: digest(parent),
            kind: "image".to_owned(),
        }),
        ..image_config(name)
    };
    VersionView::new(config, digest(&format!("{name}{number}")), Vec::new(), None)
}

fn moves(days: &[(i64, i64)]) -> Vec<ChannelMove> {
    let entry = |(at, number): &(i64, i64)| {
        let to = VersionRef {
            version: format!("1.{number}").parse().expect("a version"),
            digest: digest(&format!("web{number}")),
        };
        ChannelMove { time: day(*at), ..channel_move(&ChannelState::default(), "prod", to) }
    };
    days.iter().rev().map(entry).collect()
}

/// Five versions of `web`, one a day; prod had 1 from day 2, 2 from day 3 and has 4 since day 10.
fn stay(rules: &Retention, now: i64) -> Vec<i64> {
    let mut versions: Vec<VersionView> =
        (1..=5).map(|number| version("web", number, None)).collect();
    versions[3].channels = vec!["prod".to_owned()];
    versions.push(version("db", 1, None));
    let channels = [ChannelFacts {
        image: "web".to_owned(),
        channel: "prod".to_owned(),
        moves: moves(&[(2, 1), (3, 2), (10, 4)]),
    }];
    let none = BTreeSet::new();
    let facts = Facts {
        versions: &versions,
        channels: &channels,
        held: &BTreeMap::new(),
        pulled: &none,
        unreadable: &BTreeMap::new(),
        named: &BTreeMap::new(),
        grace: SignedDuration::from_hours(24),
        now: day(now),
    };
    let kept = kept(rules, &facts);
    assert!(kept.contains_key(&digest("db1")), "the newest of another image stays");
    (1..=5).filter(|number| kept.contains_key(&digest(&format!("web{number}")))).collect()
}

#[test]
fn rules_keep_what_they_say() {
    let days = |days| BTreeMap::from([("prod".to_owned(), days)]);
    for (rules, now, expected) in [
        (Retention::default(), 1000, vec![1, 2, 3, 4, 5]),
        (Retention { keep: Some(2), ..Retention::default() }, 1000, vec![4, 5]),
        (Retention { keep: Some(0), ..Retention::default() }, 1000, vec![4, 5]),
        (Retention { keep: Some(3), ..Retention::default() }, 1000, vec![3, 4, 5]),
        (Retention { keep_per_channel: Some(2), ..Retention::default() }, 1000, vec![2, 4, 5]),
        (Retention { keep_per_channel: Some(9), ..Retention::default() }, 1000, vec![1, 2, 4, 5]),
        // 1 left prod on day 3, 2 on day 10.
        (Retention { days: days(30), ..Retention::default() }, 32, vec![1, 2, 4, 5]),
        (Retention { days: days(30), ..Retention::default() }, 39, vec![2, 4, 5]),
        (Retention { days: days(30), ..Retention::default() }, 41, vec![4, 5]),
        // What is younger than a day stays in any case.
        (Retention { keep: Some(1), ..Retention::default() }, 3, vec![3, 4, 5]),
    ] {
        assert_eq!(stay(&rules, now), expected, "{rules:?} on day {now}");
    }
}

#[test]
fn parents_of_what_stays_stay() {
    let versions = [
        version("base", 1, None),
        version("base", 2, Some("base1")),
        version("base", 3, None),
        version("base", 4, None),
        version("web", 1, Some("base2")),
    ];
    let none = BTreeSet::new();
    let facts = Facts {
        versions: &versions,
        channels: &[],
        held: &BTreeMap::new(),
        pulled: &none,
        unreadable: &BTreeMap::new(),
        named: &BTreeMap::new(),
        grace: SignedDuration::ZERO,
        now: day(1000),
    };
    let rules = Retention { keep: Some(1), ..Retention::default() };
    let kept = kept(&rules, &facts);
    let names = ["base1", "base2", "base3", "base4", "web1"];
    assert_eq!(names.map(|name| kept.contains_key(&digest(name))), [true, true, false, true, true]);
    assert_eq!(kept[&digest("base1")], "parent of base:1.2");
}

//! Which versions may go: the rules of `[retention]`, over what is known of each version. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use imgbake_types::Digest;
use imgbake_types::record::{ChannelMove, VerifyStatus, VersionView};
use jiff::{SignedDuration, Timestamp};

/// `[retention]`: without any rule every version stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest versions of each image that stay; one always does. Of those that
    /// passed verification only such are counted: a week of failed builds takes no good version away.
    pub keep: Option<usize>,
    /// The last versions of each channel that stay, the one that it points at among them.
    pub keep_per_channel: Option<usize>,
    /// Channels whose versions stay for some days after they left it.
    pub days: BTreeMap<String, u32>,
}

impl Retention {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known of an image's channel.
#[derive(Debug, Clone)]
pub(crate) struct ChannelFacts {
    /// The image.
    pub(crate) image: String,
    /// The channel.
    pub(crate) channel: String,
    /// Its moves, newest first.
    pub(crate) moves: Vec<ChannelMove>,
}

/// All that decides.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Versions, oldest first.
    pub(crate) versions: &'a [VersionView],
    /// Their channels.
    pub(crate) channels: &'a [ChannelFacts],
    /// Versions with a hold, and why.
    pub(crate) held: &'a BTreeMap<Digest, String>,
    /// Versions that somebody is pulling.
    pub(crate) pulled: &'a BTreeSet<Digest>,
    /// Images with a channel whose history cannot be read, and why.
    pub(crate) unreadable: &'a BTreeMap<String, String>,
    /// What a version that cannot be read may need, and which version that is.
    pub(crate) named: &'a BTreeMap<Digest, String>,
    /// What is younger than this stays.
    pub(crate) grace: SignedDuration,
    pub(crate) now: Timestamp,
}

/// Why each version stays; those that are not in it may go.
pub(crate) fn kept(rules: &Retention, facts: &Facts<'_>) -> BTreeMap<Digest, String> {
    let mut kept = BTreeMap::new();
    let mut pasts: HashMap<&str, Vec<Past<'_>>> = HashMap::new();
    for channel in facts.channels {
        pasts.entry(&channel.image).or_default().push(Past::of(rules, channel));
    }
    for (version, newer) in facts.versions.iter().zip(newer(facts.versions)) {
        let pasts = pasts.get(version.name.as_str()).map_or(&[][..], Vec::as_slice);
        if let Some(why) = reason(rules, facts, version, newer, pasts) {
            kept.insert(version.digest.clone(), why);
        }
    }
    keep_parents(facts.versions, &mut kept);
    kept
}

/// How many versions of its image are newer than each: of one that passed verification, those that did as well; of
/// another, any.
fn newer(versions: &[VersionView]) -> Vec<usize> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    let mut newer: Vec<usize> = versions
        .iter()
        .rev()
        .map(|version| {
            let passed = version.verify.status == VerifyStatus::Passed;
            let (all, proved) = counts.entry(&version.name).or_default();
            let newer = if passed { *proved } else { *all };
            *all += 1;
            *proved += usize::from(passed);
            newer
        })
        .collect();
    newer.reverse();
    newer
}

fn reason(
    rules: &Retention,
    facts: &Facts<'_>,
    version: &VersionView,
    newer: usize,
    pasts: &[Past<'_>],
) -> Option<String> {
    if rules.is_empty() {
        return Some("no rule of [retention] is set".to_owned());
    }
    if !version.channels.is_empty() {
        return Some(format!("channel {}", version.channels.join(", ")));
    }
    if let Some(why) = facts.held.get(&version.digest) {
        return Some(format!("held: {why}"));
    }
    if let Some(other) = facts.named.get(&version.digest) {
        return Some(format!("may be needed by {other}, which cannot be read"));
    }
    if facts.pulled.contains(&version.digest) {
        return Some("is being pulled".to_owned());
    }
    if facts.now.duration_since(version.created) < facts.grace {
        return Some("younger than the grace period".to_owned());
    }
    // The newest always stays: what an image's name means does not go with the rules.
    if newer < rules.keep.unwrap_or(1).max(1) {
        return Some("among the newest".to_owned());
    }
    let kept = pasts.iter().find_map(|past| past.keeps(version, facts.now));
    // What an unreadable history says of the version is not known.
    kept.or_else(|| facts.unreadable.get(&version.name).cloned())
}

/// What the rules make of a channel's history.
struct Past<'a> {
    channel: &'a str,
    /// The last versions, as many as stay.
    last: HashSet<&'a Digest>,
    /// When each version left, where the channel's versions stay for some days.
    left: HashMap<&'a Digest, Timestamp>,
    days: u32,
}

impl<'a> Past<'a> {
    fn of(rules: &Retention, facts: &'a ChannelFacts) -> Self {
        let keep = rules.keep_per_channel.unwrap_or(0);
        let mut last = HashSet::new();
        for entry in &facts.moves {
            if last.len() == keep {
                break;
            }
            last.insert(&entry.to.digest);
        }
        let days = rules.days.get(&facts.channel).copied();
        let mut left = HashMap::new();
        // The move after the one that brought a version in took it out; of several the newest counts.
        for pair in facts.moves.windows(2).filter(|_| days.is_some()) {
            left.entry(&pair[1].to.digest).or_insert(pair[0].time);
        }
        Self { channel: &facts.channel, last, left, days: days.unwrap_or(0) }
    }

    fn keeps(&self, version: &VersionView, now: Timestamp) -> Option<String> {
        if self.last.contains(&version.digest) {
            return Some(format!("among the last of {}", self.channel));
        }
        let away = now.duration_since(*self.left.get(&version.digest)?);
        (away < SignedDuration::from_hours(24 * i64::from(self.days)))
            .then(|| format!("was in {} until {} days ago", self.channel, away.as_hours() / 24))
    }
}

/// A version that a kept one was built on stays, and so on upwards.
fn keep_parents(versions: &[VersionView], kept: &mut BTreeMap<Digest, String>) {
    let by_digest: BTreeMap<&Digest, &VersionView> =
        versions.iter().map(|version| (&version.digest, version)).collect();
    let mut open: Vec<&VersionView> =
        versions.iter().filter(|version| kept.contains_key(&version.digest)).collect();
    while let Some(child) = open.pop() {
        let parent = child.parent.as_ref().and_then(|parent| by_digest.get(&parent.digest));
        if let Some(parent) = parent
            && !kept.contains_key(&parent.digest)
        {
            let why = format!("parent of {}:{}", child.name, child.version);
            kept.insert(parent.digest.clone(), why);
            open.push(parent);
        }
    }
}

#[cfg(test)]
mod tests;

//! Which versions may go: the rules of `[retention]`, over what is known of each version. Pure.

use std::collections::{BTreeMap, BTreeSet};

use imgbake_types::Digest;
use imgbake_types::record::{ChannelMove, VersionView};
use jiff::{SignedDuration, Timestamp};

/// `[retention]`: without any rule every version stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// The newest versions of each image that stay; one always does.
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
    /// What is younger than this stays.
    pub(crate) grace: SignedDuration,
    pub(crate) now: Timestamp,
}

/// Why each version stays; those that are not in it may go.
pub(crate) fn kept(rules: &Retention, facts: &Facts<'_>) -> BTreeMap<Digest, String> {
    let mut kept = BTreeMap::new();
    for (number, version) in facts.versions.iter().enumerate() {
        if let Some(why) = reason(rules, facts, number, version) {
            kept.insert(version.digest.clone(), why);
        }
    }
    keep_parents(facts.versions, &mut kept);
    kept
}

fn reason(
    rules: &Retention,
    facts: &Facts<'_>,
    number: usize,
    version: &VersionView,
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
    if facts.pulled.contains(&version.digest) {
        return Some("is being pulled".to_owned());
    }
    if facts.now.duration_since(version.created) < facts.grace {
        return Some("younger than the grace period".to_owned());
    }
    let newer = facts.versions[number + 1..].iter().filter(|other| other.name == version.name);
    // The newest always stays: numbers of a day go on from it.
    if newer.count() < rules.keep.unwrap_or(1).max(1) {
        return Some("among the newest".to_owned());
    }
    let mut own = facts.channels.iter().filter(|channel| channel.image == version.name);
    own.find_map(|channel| by_channel(rules, channel, version, facts.now))
}

/// What a channel's history says for a version.
fn by_channel(
    rules: &Retention,
    channel: &ChannelFacts,
    version: &VersionView,
    now: Timestamp,
) -> Option<String> {
    if let Some(keep) = rules.keep_per_channel {
        let mut seen: Vec<&Digest> = Vec::new();
        for entry in &channel.moves {
            if !seen.contains(&&entry.to.digest) {
                seen.push(&entry.to.digest);
            }
        }
        if seen.iter().take(keep).any(|digest| **digest == version.digest) {
            return Some(format!("among the last of {}", channel.channel));
        }
    }
    let days = *rules.days.get(&channel.channel)?;
    // The move after the one that brought it in took it out.
    let left = channel.moves.windows(2).find(|pair| pair[1].to.digest == version.digest);
    let left = left.map(|pair| pair[0].time)?;
    let away = now.duration_since(left);
    (away < SignedDuration::from_hours(24 * i64::from(days)))
        .then(|| format!("was in {} until {} days ago", channel.channel, away.as_hours() / 24))
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

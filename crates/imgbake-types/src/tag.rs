//! What a tag's text says: a dated version, a channel, or one of the registry's own names.

use std::fmt;

use crate::{Algorithm, Digest};

pub use crate::version::is_tag;

/// What begins the tags of what refers to a manifest (distribution-spec v1.1, "Referrers Tag Schema").
pub const REFERRERS: &str = "sha256-";
/// What begins the tag that keeps a version.
pub const HOLD: &str = "hold-";
/// What begins the tag of a shared layer.
pub const LAYER: &str = "layer-";
/// Digits of a key in a layer's tag: a tag has at most 128 characters, and 160 bits do not meet.
pub const LAYER_DIGITS: usize = 40;
/// The longest tag, in bytes (distribution-spec, "Pulling manifests").
pub const LONGEST: usize = 128;

/// Digits of a contender's nonce.
const NONCE: usize = 12;

/// One of the tags in which a channel's moves are kept. `docs/decisions/0019-channel-moves.md` says how a
/// repository without compare-and-swap agrees on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelTag<'a> {
    /// The channel.
    pub channel: &'a str,
    /// Which of its tags.
    pub kind: ChannelTagKind,
}

/// What a channel's tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelTagKind {
    /// `CHANNEL.history`: the newest record.
    Head,
    /// `CHANNEL.history-NUMBER`: one record, for good.
    Record(u64),
    /// `CHANNEL.claim-NUMBER-ROUND-NONCE`: somebody wants to write the record of that number.
    Claim(Ballot),
    /// `CHANNEL.vote-NUMBER-ROUND-NONCE`: what somebody wants the record of that number to be.
    Vote(Ballot),
}

/// A contender's attempt to write a record. Of two for one number the greater has the say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// The record's number.
    pub number: u64,
    /// Greater than every round that the contender saw.
    pub round: u64,
    /// The contender's own: hex digits.
    pub nonce: String,
}

impl Ballot {
    /// A contender's nonce, made of random hex digits.
    pub fn nonce(digits: &str) -> String {
        digits.chars().take(NONCE).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, rest) = text.split_once('-')?;
        let (round, nonce) = rest.split_once('-')?;
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_nonce = nonce.len() == NONCE && nonce.bytes().all(hex);
        is_nonce.then_some(())?;
        Some(Self { number: decimal(number)?, round: decimal(round)?, nonce: nonce.to_owned() })
    }
}

impl<'a> ChannelTag<'a> {
    /// What a tag is of a channel's, if anything.
    pub fn parse(tag: &'a str) -> Option<Self> {
        let (channel, end) = tag.rsplit_once('.')?;
        let kind = if end == "history" {
            ChannelTagKind::Head
        } else if let Some(number) = end.strip_prefix("history-") {
            ChannelTagKind::Record(decimal(number)?)
        } else if let Some(ballot) = end.strip_prefix("claim-") {
            ChannelTagKind::Claim(Ballot::parse(ballot)?)
        } else {
            ChannelTagKind::Vote(Ballot::parse(end.strip_prefix("vote-")?)?)
        };
        Some(Self { channel, kind })
    }
}

impl fmt::Display for ChannelTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = self.channel;
        match &self.kind {
            ChannelTagKind::Head => write!(f, "{channel}.history"),
            ChannelTagKind::Record(number) => write!(f, "{channel}.history-{number}"),
            ChannelTagKind::Claim(ballot) => write!(f, "{channel}.claim-{ballot}"),
            ChannelTagKind::Vote(ballot) => write!(f, "{channel}.vote-{ballot}"),
        }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.number, self.round, self.nonce)
    }
}

/// A number from 1 on as it is printed: no sign, no zero before it.
fn decimal(text: &str) -> Option<u64> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Whether a tag is the registry's own: referrers of a version, a channel's moves, a hold, a layer.
pub fn is_hidden(tag: &str) -> bool {
    tag.starts_with(REFERRERS)
        || tag.starts_with(HOLD)
        || tag.ends_with(".history")
        || ChannelTag::parse(tag).is_some()
        || is_layer(tag)
}

/// Whether a tag is a shared layer's.
fn is_layer(tag: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let digits = tag.strip_prefix(LAYER);
    digits.is_some_and(|digits| digits.len() == LAYER_DIGITS && digits.bytes().all(hex))
}

/// Whether a tag has the form `YYYY.MM.DD-N` that imgbake gives versions.
pub fn is_dated(tag: &str) -> bool {
    let digits =
        |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let Some((day, number)) = tag.split_once('-') else { return false };
    let parts: Vec<&str> = day.split('.').collect();
    matches!(parts[..], [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2))
        && !number.is_empty()
        && digits(number, number.len())
}

/// What a tag is about: `sha256-HEX` lists what refers to a manifest, and names that begin with that and
/// a dot are of single ones, imgbake's where a registry keeps no lists and cosign's.
pub fn subject(tag: &str) -> Option<Digest> {
    let (list, _) = tag.split_once('.').unwrap_or((tag, ""));
    let hex = list.strip_prefix(REFERRERS)?;
    format!("{}:{hex}", Algorithm::Sha256.name()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_a_channels_tags() {
        for tag in [
            "dev.history",
            "dev.history-12",
            "a.b.history-1",
            "dev.claim-3-1-00ff00ff00ff",
            "dev.vote-3-17-00ff00ff00ff",
        ] {
            let parsed = ChannelTag::parse(tag);
            assert_eq!(parsed.map(|tag| tag.to_string()).as_deref(), Some(tag));
            assert!(is_hidden(tag), "{tag}");
        }
        for tag in [
            "dev",
            "dev.history-",
            "dev.history-0",
            "dev.history-012",
            "dev.history-x",
            "dev.history-99999999999999999999",
            "dev.claim-3-00ff00ff00ff",
            "dev.claim-3-1-00ff",
            "dev.claim-3-1-00FF00FF00FF",
            "dev.vote-0-1-00ff00ff00ff",
            "2026.11.23-1",
        ] {
            assert_eq!(ChannelTag::parse(tag), None, "{tag}");
            assert!(!is_hidden(tag), "{tag}");
        }
    }

    #[test]
    fn tells_tags_apart() {
        for (tag, dated, hidden) in [
            ("dev", false, false),
            ("2026.11.23-1", true, false),
            ("2026.11.23-017", true, false),
            ("2026.11.23", false, false),
            ("2026.11.23-rc1", false, false),
            ("sha256-00ff", false, true),
            ("sha256-00ff.sig", false, true),
            ("hold-1.0", false, true),
            ("layer-00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff", false, true),
            ("layer-00ff", false, false),
        ] {
            assert_eq!((is_dated(tag), is_hidden(tag)), (dated, hidden), "{tag}");
        }
    }

    #[test]
    fn the_later_round_has_the_say() {
        let ballot = |round, nonce: &str| Ballot { number: 3, round, nonce: Ballot::nonce(nonce) };
        assert!(ballot(10, "00") > ballot(9, "ff") && ballot(9, "ff") > ballot(9, "00"));
    }
}

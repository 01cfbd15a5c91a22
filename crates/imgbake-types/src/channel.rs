//! Channels: their names, and who moves them by which command.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tag::{LONGEST, is_dated, is_hidden, is_tag};
use crate::{Digest, ParseError};

/// Characters of a tag that a channel leaves for `.history`.
const HISTORY: usize = ".history".len();

/// The name of a channel: a tag that is neither a version's nor the registry's own.
///
/// What people write is checked ([`FromStr`]); what is stored is read as long as it is a tag, so that a
/// name that a later rule forbids stays readable.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

impl ChannelName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why a text cannot be a channel.
    fn refusal(text: &str) -> Option<&'static str> {
        if !is_tag(text) || text.len() + HISTORY > LONGEST {
            return Some("a channel is letters, digits, `_`, `.` and `-`, 120 at most");
        }
        if is_hidden(text) {
            return Some(
                "names that begin with `sha256-` or `hold-`, end in `.history`, or look like a layer's or \
                 a channel record's tag are the registry's own",
            );
        }
        is_dated(text).then_some("it looks like a version, and versions never move")
    }
}

/// A name that cannot be a channel's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` cannot be a channel: {why}")]
pub struct ChannelNameError {
    /// The text as given.
    pub given: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(text: &str) -> Result<Self, ChannelNameError> {
        match Self::refusal(text) {
            None => Ok(Self(text.to_owned())),
            Some(why) => Err(ChannelNameError { given: text.to_owned(), why }),
        }
    }
}

impl TryFrom<String> for ChannelName {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        if is_tag(&text) { Ok(Self(text)) } else { Err(ParseError::new(&text, "a channel's name")) }
    }
}

impl From<ChannelName> for String {
    fn from(channel: ChannelName) -> Self {
        channel.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The command that moved a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Action {
    /// A build whose template names the channel.
    Build,
    /// `imgbake promote`
    Promote,
    /// `imgbake rollback`
    Rollback,
    /// One that this imgbake does not know.
    Other(String),
}

impl Action {
    /// The word that is stored.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Build => "build",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for Action {
    fn from(word: String) -> Self {
        let known = [Self::Build, Self::Promote, Self::Rollback];
        known.into_iter().find(|action| action.as_str() == word).unwrap_or(Self::Other(word))
    }
}

impl From<Action> for String {
    fn from(action: Action) -> Self {
        action.as_str().to_owned()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who moved a channel: `user@host`. What is stored is read as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// The longest that is written, in characters.
    const LONGEST: usize = 255;

    /// Who somebody is by what the system says: what does not fit in a line is replaced.
    pub fn lossy(text: &str) -> Self {
        let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Self(text.chars().map(printable).take(Self::LONGEST).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Actor {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if !text.trim().is_empty() && Self::lossy(text).0 == text {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new(text, "who somebody is, such as user@host"))
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a gate said of a version that a channel was about to point at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The gate: `verified`.
    pub gate: String,
    /// Whether the channel may point at the version.
    pub passed: bool,
    /// Why, as a sentence without a full stop: "it failed verification: …".
    pub reason: String,
    /// The command that could change the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The digests of the evidence that was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channels_name_is_checked_when_people_write_it() {
        for (text, is_channel) in [
            ("dev", true),
            ("2026.11.23", true),
            ("2026.11.23-rc1", true),
            ("layer-00ff", true),
            ("2026.11.23-1", false),
            ("sha256-00ff", false),
            ("dev.history", false),
            ("dev.history-1", false),
            ("hold-1.0", false),
            ("-dev", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<ChannelName>().is_ok(), is_channel, "{text}");
        }
        assert!("a".repeat(121).parse::<ChannelName>().is_err());
        // What is stored stays readable.
        let stored: ChannelName = serde_json::from_str("\"dev.history-1\"").unwrap();
        assert_eq!(stored.as_str(), "dev.history-1");
        assert!(serde_json::from_str::<ChannelName>("\"a b\"").is_err());
    }

    #[test]
    fn an_unknown_action_is_kept() {
        for word in ["build", "promote", "rollback", "approve"] {
            let action: Action = serde_json::from_value(word.into()).unwrap();
            assert_eq!(matches!(action, Action::Other(_)), word == "approve");
            assert_eq!(serde_json::to_value(&action).unwrap(), word);
        }
    }

    #[test]
    fn who_somebody_is_fits_in_a_line() {
        assert!("ada@host".parse::<Actor>().is_ok());
        for text in ["", " ", "ada\n@host", &"a".repeat(256)] {
            assert!(text.parse::<Actor>().is_err(), "{text:?}");
        }
        assert_eq!(Actor::lossy("ada\n@host").as_str(), "ada\u{fffd}@host");
    }
}

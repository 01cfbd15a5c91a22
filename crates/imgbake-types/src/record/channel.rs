//! A channel's moves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Document, format};
use crate::channel::{Action, Actor, ChannelName, Verdict};
use crate::{Digest, VersionName};

/// One move of a channel, as its caller composed it: nothing is filled in by a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMove {
    /// The channel.
    pub channel: ChannelName,
    /// The image, as references name it without a host. Records of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Which of the channel's moves it is, from 1. Records of before have none; a reader of the whole
    /// history counts them.
    #[serde(default)]
    pub number: u64,
    /// The digest of the record before it, a manifest. Records of before have it in an annotation alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub who: Actor,
    /// The command.
    pub action: Action,
    /// What it pointed at before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<VersionRef>,
    /// What it points at since.
    pub to: VersionRef,
    /// The channel or version that was named in the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The reason given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What each gate said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
}

impl Document for ChannelMove {}

impl ChannelMove {
    /// The type of the document in its signatures.
    pub const PAYLOAD: &str = "application/vnd.imgbake.move.v1+json";
}

/// A version by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRef {
    /// Its name.
    pub version: VersionName,
    /// Its index's digest.
    pub digest: Digest,
}

/// A signature of a move's document (DSSE, with [`ChannelMove::PAYLOAD`] as the payload's type).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveSignature {
    /// The key: the SHA-256 of its `SubjectPublicKeyInfo` in hexadecimal.
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

/// A move as a store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedMove {
    /// The digest of its record, a manifest.
    pub record: Digest,
    /// The move. It has a number, whether its record states one or not.
    #[serde(flatten)]
    pub entry: ChannelMove,
    /// Who signed it. Nobody has checked that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<MoveSignature>,
    /// The document as it is stored, which the signatures are of.
    #[serde(skip)]
    pub document: Vec<u8>,
}

/// Where a channel is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChannelState {
    /// Its newest move; none where there never was one.
    pub head: Option<RecordedMove>,
    /// What it points at. Without a head another tool has put it there.
    pub target: Option<VersionRef>,
}

impl ChannelState {
    /// The number of the next move.
    pub fn next_number(&self) -> u64 {
        self.head.as_ref().map_or(1, |head| head.entry.number.saturating_add(1))
    }

    /// Whether a move was composed for this state.
    pub fn expects(&self, entry: &ChannelMove) -> bool {
        let record = self.head.as_ref().map(|head| &head.record);
        record == entry.previous.as_ref() && self.target == entry.from
    }
}

/// A move whose bytes are final: what is signed is what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposedMove {
    entry: ChannelMove,
    bytes: Vec<u8>,
    signatures: Vec<MoveSignature>,
}

impl ComposedMove {
    /// Writes a move as JSON.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn new(entry: ChannelMove) -> Result<Self, serde_json::Error> {
        Ok(Self { bytes: format::write(&entry)?, entry, signatures: Vec::new() })
    }

    /// The move.
    pub const fn entry(&self) -> &ChannelMove {
        &self.entry
    }

    /// The document.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a signature of the document.
    #[must_use]
    pub fn signed(mut self, signature: MoveSignature) -> Self {
        self.signatures.push(signature);
        self
    }

    /// The signatures of the document.
    pub fn signatures(&self) -> &[MoveSignature] {
        &self.signatures
    }

    /// The move as a store has it under this digest.
    pub fn recorded(&self, record: Digest) -> RecordedMove {
        let Self { entry, bytes, signatures } = self.clone();
        RecordedMove { record, entry, signatures, document: bytes }
    }
}

/// What came of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The channel was where the move expects it, and is where the move says.
    Moved(RecordedMove),
    /// It was elsewhere: somebody else was first. Nothing changed.
    Lost(ChannelState),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As imgbake wrote it before moves had numbers.
    const OLD: &str = r#"{"channel":"dev","time":"2026-11-23T11:00:00Z","who":"ada@host","action":"promote",
        "to":{"version":"2026.11.23-1","digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        "source":"web","later":"unknown"}"#;

    #[test]
    fn a_record_of_before_is_read() {
        let entry: ChannelMove = serde_json::from_str(OLD).unwrap();
        assert_eq!((entry.number, &entry.previous), (0, &None));
        assert_eq!(entry.action, Action::Promote);
    }

    #[test]
    fn a_move_is_for_one_state() {
        let entry: ChannelMove = serde_json::from_str(OLD).unwrap();
        let record = Digest::sha256("record");
        let head = ComposedMove::new(ChannelMove { number: 7, ..entry.clone() }).unwrap();
        let head = head.recorded(record.clone());
        let state = ChannelState { target: Some(entry.to.clone()), head: Some(head) };
        let next =
            ChannelMove { previous: Some(record), from: state.target.clone(), ..entry.clone() };
        assert_eq!(state.next_number(), 8);
        assert!(state.expects(&next) && ChannelState::default().expects(&entry));
        assert!(!state.expects(&entry) && !ChannelState::default().expects(&next));
        assert!(!state.expects(&ChannelMove { from: None, ..next }));
    }
}

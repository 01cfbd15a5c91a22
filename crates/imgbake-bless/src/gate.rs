//! Rules that a version must meet before a channel may point at it.

use async_trait::async_trait;
use imgbake_build::evidence::EvidenceList;
use imgbake_build::{BuildError, Image};
use imgbake_types::record::{VersionRef, VersionView};
use imgbake_types::{ChannelName, Digest, Verdict};

/// A version that a channel is about to point at.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// The version.
    pub version: &'a VersionView,
    /// The channel.
    pub channel: &'a ChannelName,
    /// What the channel points at now.
    pub head: Option<&'a VersionRef>,
    /// The image, with its other channels and versions.
    pub image: &'a dyn Image,
    /// What is recorded of the version where it is stored.
    pub evidence: &'a EvidenceList,
}

/// One rule. It looks and does not change anything.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Its word, for messages: `verified`.
    fn name(&self) -> &str;

    /// Whether the channel may point at the version.
    ///
    /// # Errors
    /// The gate could not find out: nothing moves then either.
    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError>;
}

/// A gate's answer: a verdict without the gate's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    passed: bool,
    reason: String,
    help: Option<String>,
    evidence: Vec<Digest>,
}

impl Answer {
    /// The channel may point at the version: "all 3 tests passed".
    pub fn passed(reason: impl Into<String>) -> Self {
        Self { passed: true, reason: reason.into(), help: None, evidence: Vec::new() }
    }

    /// It may not: "it was never verified".
    pub fn refused(reason: impl Into<String>) -> Self {
        Self { passed: false, reason: reason.into(), help: None, evidence: Vec::new() }
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names evidence on which the answer is based: the verdict records it.
    #[must_use]
    pub fn based_on(mut self, evidence: impl IntoIterator<Item = Digest>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// The answer of a gate, to be recorded.
    pub(crate) fn verdict(self, gate: &str) -> Verdict {
        let Self { passed, reason, help, evidence } = self;
        Verdict { gate: gate.to_owned(), passed, reason, help, evidence }
    }
}

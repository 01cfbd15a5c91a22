//! Rules that a version must meet before a channel may point at it.

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_build::evidence::{EvidenceList, Origin};
use imgbake_types::record::{VerifyStatus, VersionView};
use imgbake_types::{ChannelName, Digest, Verdict};

/// A version that a channel is about to point at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The version.
    pub version: &'a VersionView,
    /// The channel.
    pub channel: &'a ChannelName,
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

/// The version's newest verify passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verified;

#[async_trait]
impl Gate for Verified {
    fn name(&self) -> &'static str {
        "verified"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let version = candidate.version;
        let label = format!("{}:{}", version.name, version.version);
        let newest = candidate.evidence.newest_verify(&version.digest);
        let answer = match version.verify.status {
            VerifyStatus::Passed => {
                let copied = match newest.origin {
                    Some(Origin::Copied) => ", recorded elsewhere and copied",
                    _ => "",
                };
                Answer::passed(format!("all {} tests passed{copied}", version.verify.tests.len()))
            }
            VerifyStatus::Unverified => Answer::refused("it was never verified")
                .help(format!("`imgbake test {label}` boots it and runs its tests")),
            VerifyStatus::Failed => Answer::refused(format!(
                "it failed verification: {}",
                failed(version)
            ))
            .help(format!("`imgbake test {label}` verifies it again; a new build fixes the image")),
        };
        Ok(answer.based_on(newest.digest))
    }
}

/// The tests that failed, one a line when there is more than a name to say.
fn failed(version: &VersionView) -> String {
    let tests = &version.verify.tests;
    let failed: Vec<_> = tests.iter().filter(|test| !test.passed).collect();
    let mut text = format!("{} of {} tests failed", failed.len(), tests.len());
    for test in failed {
        text.push_str("\n  ");
        text.push_str(&test.name);
        text.push_str(" (");
        text.push_str(&test.machine);
        text.push(')');
        if let Some(line) = test.detail.trim().lines().next() {
            text.push_str(": ");
            text.push_str(line);
        }
    }
    text
}

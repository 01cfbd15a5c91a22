//! Rules that a version must meet before a channel may point at it.

use std::fmt;

use imgbake_types::record::{VerifyStatus, VersionView};

/// One rule. It looks and does not change anything.
pub trait Gate: Send + Sync {
    /// Its word, for messages: `verified`.
    fn name(&self) -> &str;

    /// Whether the channel may point at the version.
    fn check(&self, version: &VersionView, channel: &str) -> Result<(), Refusal>;
}

/// Why a gate refused, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, as a sentence's end: `its verify failed: …`.
    pub why: String,
    /// The command that could change the gate's mind.
    pub help: Option<String>,
}

impl Refusal {
    /// A refusal without help.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), help: None }
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// The version's newest verify passed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verified;

impl Gate for Verified {
    fn name(&self) -> &'static str {
        "verified"
    }

    fn check(&self, version: &VersionView, _channel: &str) -> Result<(), Refusal> {
        let label = format!("{}:{}", version.name, version.version);
        match version.verify.status {
            VerifyStatus::Passed => Ok(()),
            VerifyStatus::Unverified => Err(Refusal::new("it was never verified")
                .help(format!("`imgbake test {label}` boots it and runs its tests"))),
            VerifyStatus::Failed => {
                Err(Refusal::new(format!("its verify failed: {}", failed(version))).help(format!(
                    "`imgbake test {label}` tries again; the image's cause is mended by a new build"
                )))
            }
        }
    }
}

/// The tests that failed, one a line when there is more than a name to say.
fn failed(version: &VersionView) -> String {
    let tests = &version.verify.tests;
    let failed: Vec<_> = tests.iter().filter(|test| !test.passed).collect();
    let mut text = format!("{} of {} tests did not pass", failed.len(), tests.len());
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

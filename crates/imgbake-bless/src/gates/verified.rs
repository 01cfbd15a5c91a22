//! Whether a version was verified.

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_build::evidence::Origin;
use imgbake_types::record::{VerifyStatus, VersionView};

use crate::{Answer, Candidate, Gate};

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

//! Whether a version was sealed.

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_types::Stage;
use imgbake_types::record::SealRecord;

use crate::{Answer, Candidate, Gate};

/// The machine was sealed before its disk was captured, and nothing that had to be gone was found on it. A build that
/// finds something publishes no version.
#[derive(Debug)]
pub(crate) struct Sealed;

#[async_trait]
impl Gate for Sealed {
    fn name(&self) -> &'static str {
        "sealed"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let stages = candidate.version.stages.iter();
        let record =
            stages.filter(|stage| stage.stage == Stage::Seal).find_map(|stage| stage.seal.as_ref());
        Ok(record.map_or_else(
            || {
                Answer::refused("it was not sealed")
                    .help("build it with `[seal]` enabled, as it is by default")
            },
            |record: &SealRecord| {
                Answer::passed(format!("{} operations, no residue", record.operations.len()))
            },
        ))
    }
}

//! How much more a version may hold than the one before.

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_types::Target;

use crate::percent::Percent;
use crate::{Answer, Candidate, Gate};

/// The version's data is at most so much more than that of the version that the channel points at.
#[derive(Debug)]
pub(crate) struct MaxGrowth(pub(crate) Percent);

#[async_trait]
impl Gate for MaxGrowth {
    fn name(&self) -> &'static str {
        "max_growth"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let Some(head) = candidate.head else {
            return Ok(Answer::passed("the channel points at nothing yet"));
        };
        let before = candidate.image.version(Some(&Target::Digest(head.digest.clone()))).await?;
        let (was, is) = (before.disk.data_bytes, candidate.version.disk.data_bytes);
        let facts = format!("its data is {is} bytes, and {was} bytes in {}", head.version);
        Ok(if self.0.allows(was, is) {
            Answer::passed(facts)
        } else {
            Answer::refused(format!("{facts}: more than {} are allowed", self.0))
                .help("find out what grew, or raise `max_growth` of the channel")
        })
    }
}

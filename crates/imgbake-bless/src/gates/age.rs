//! How old a version may be.

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_types::Span;
use imgbake_types::time::rough;
use jiff::Timestamp;

use crate::{Answer, Candidate, Gate};

/// The version was captured not longer ago than this.
#[derive(Debug)]
pub(crate) struct MaxAge(pub(crate) Span);

#[async_trait]
impl Gate for MaxAge {
    fn name(&self) -> &'static str {
        "max_age"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let age = Timestamp::now().duration_since(candidate.version.created).unsigned_abs();
        let (shown, most) = (rough(age.as_secs_f64()), rough(self.0.duration().as_secs_f64()));
        Ok(if age <= self.0.duration() {
            Answer::passed(format!("it is {shown} old, at most {most} is allowed"))
        } else {
            Answer::refused(format!("it is {shown} old, and at most {most} is allowed"))
                .help("build it again: `imgbake build TEMPLATE`")
        })
    }
}

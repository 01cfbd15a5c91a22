//! Why something that is stored cannot be read, as an error and back.

use std::error::Error;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::Problem;

/// The error for a document that cannot be read; `what` names it.
pub(crate) fn unreadable(what: &str, problem: Problem) -> BuildError {
    let newer = problem.is_newer();
    let kind = if newer { BuildErrorKind::Lacking } else { BuildErrorKind::Failed };
    let error = BuildError::new(kind, format!("cannot read {what}")).because(problem);
    if newer { error.help("update imgbake on this machine") } else { error }
}

/// Why the document cannot be read that an error is about.
pub(crate) fn problem_of(error: &BuildError) -> Problem {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(problem) = error.downcast_ref::<Problem>() {
            return problem.clone();
        }
        cause = error.source();
    }
    Problem::Damaged { why: with_causes(error) }
}

/// An error with its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

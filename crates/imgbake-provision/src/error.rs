//! This crate's error, and what a step must not show.

use std::fmt;
use std::io;

use camino::Utf8PathBuf;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_comm::CommError;
use imgbake_runtime::{RuntimeError, Tail};
use imgbake_types::record::step::Resource;
use imgbake_types::spec::ProvisionSpec;
use serde::de::DeserializeOwned;

/// Why a step failed. The message does not name the step: [`StepError::of`] does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// The template asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// A sensitive value in a key whose value is no secret in the machine: an argument, a path, a name.
    #[error(
        "`{key}` holds a sensitive variable, and every user of the machine could read it there"
    )]
    Public {
        /// The step's key.
        key: &'static str,
    },
    /// The script of this host cannot be read.
    #[error("cannot read the script {path}")]
    Script {
        /// The script.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of this host cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of this host cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The script did not end as it should.
    #[error("{how}{tries}{output}")]
    Command {
        /// How it ended.
        how: String,
        /// How often it was tried, where it was more than once.
        tries: String,
        /// The last lines of its output.
        output: String,
    },
    /// A resource could not be brought to what is declared.
    #[error("{} failed: {}", .0.title(), .0.message.as_deref().unwrap_or("it gives no reason"))]
    Resource(Box<Resource>),
    /// The connection ended while the script ran.
    #[error("the connection to the machine was lost while it ran{output}")]
    Lost {
        /// The last lines of its output.
        output: String,
    },
    /// The way into the machine failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// The job was cancelled.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// What a user sees: the error, with the step that it ended.
#[derive(Debug)]
struct InStep {
    step: String,
    error: StepError,
}

impl StepError {
    /// The error of the step with this name.
    pub(crate) fn of(self, step: &str) -> BuildError {
        let help = match &self {
            Self::Public { .. } => Some(
                "Give it in a key that takes sensitive variables: docs/guide/steps.md names those of each step.",
            ),
            Self::Lost { .. } => {
                Some("If the step restarts the machine, say so in it: reboot = \"expected\".")
            }
            _ => None,
        };
        let kind = match self {
            // It ended the job, not the step.
            Self::Runtime(error) => return error.into(),
            Self::Usage(_) | Self::Public { .. } => BuildErrorKind::Usage,
            Self::Lost { .. } => BuildErrorKind::Machine,
            Self::Comm(ref error) => error.kind().into(),
            Self::Script { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Command { .. }
            | Self::Resource(_) => BuildErrorKind::Failed,
        };
        BuildError::of(kind, InStep { step: step.to_owned(), error: self })
            .help_if_any(help.map(str::to_owned))
    }
}

impl fmt::Display for InStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step `{}`: {}", self.step, self.error)
    }
}

impl std::error::Error for InStep {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// The settings of a step, as the type of its kind.
pub(crate) fn settings<T: DeserializeOwned>(
    name: &str,
    spec: &ProvisionSpec,
) -> Result<T, BuildError> {
    let read = spec.read();
    read.map_err(|error| StepError::Usage(format!("its settings cannot be read: {error}")).of(name))
}

/// The last lines of a step's output, for an error.
pub(crate) fn last_lines(tail: &Tail) -> String {
    let text = tail.text();
    if text.is_empty() {
        "; it printed nothing".to_owned()
    } else {
        format!("; its last lines:\n{text}")
    }
}

/// Refuses a sensitive variable where all users of the machine could read it.
pub(crate) fn check_public<'a>(
    key: &'static str,
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<(), StepError> {
    let is_public = texts.into_iter().all(|text| imgbake_types::secret::names(text).is_empty());
    if is_public { Ok(()) } else { Err(StepError::Public { key }) }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use imgbake_comm::CommErrorKind;

    use super::*;

    #[test]
    fn an_error_names_its_step_and_keeps_its_causes() {
        let cause = io::Error::from(io::ErrorKind::BrokenPipe);
        let error = StepError::Comm(CommError::with(CommErrorKind::Lost, "cannot send it", cause));
        let error = error.of("web");
        assert_eq!(error.to_string(), "step `web`: cannot send it");
        assert_eq!(error.kind(), BuildErrorKind::Machine);
        assert!(error.source().is_some_and(<dyn Error>::is::<io::Error>));
        let cause = io::Error::from(io::ErrorKind::NotFound);
        let error = StepError::Script { path: "/s.sh".into(), source: cause }.of("web");
        assert_eq!(error.to_string(), "step `web`: cannot read the script /s.sh");
        assert!(error.source().is_some_and(<dyn Error>::is::<io::Error>));
    }
}

//! This crate's error; floor 3's rooms give it as well.

use std::fmt;

use imgbake_comm::{CommError, CommErrorKind};
use imgbake_runtime::{RuntimeError, RuntimeErrorKind};

/// What kind of thing went wrong: what the command's exit code and hints are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildErrorKind {
    /// The work failed: a step, a test, a download.
    Failed,
    /// The template asks for something that cannot be.
    Usage,
    /// A rule refused it: an unverified version, a gate.
    Refused,
    /// This machine lacks something: a program, KVM, memory.
    Lacking,
    /// A file system is full.
    Full,
    /// The user interrupted.
    Cancelled,
    /// The machine did something by itself: it panicked, restarted, never came up.
    Machine,
    /// Something named does not exist.
    NotFound,
}

/// What went wrong, why, and what to do about it.
#[derive(Debug)]
pub struct BuildError {
    kind: BuildErrorKind,
    context: String,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BuildError {
    /// An error with its own words.
    pub fn new(kind: BuildErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), help: None, source: None }
    }

    /// The work failed.
    pub fn failed(context: impl Into<String>) -> Self {
        Self::new(BuildErrorKind::Failed, context)
    }

    /// Gives it its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What a caller may act on.
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }

    /// What the user can do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<RuntimeError> for BuildError {
    fn from(error: RuntimeError) -> Self {
        let kind = match error.kind() {
            RuntimeErrorKind::Cancelled => BuildErrorKind::Cancelled,
            RuntimeErrorKind::MissingProgram => BuildErrorKind::Lacking,
            RuntimeErrorKind::Full => BuildErrorKind::Full,
            RuntimeErrorKind::Failed | RuntimeErrorKind::TimedOut | RuntimeErrorKind::Io => {
                BuildErrorKind::Failed
            }
        };
        let built = Self::new(kind, error.to_string());
        // The words are the error's own: what is below it is its cause.
        match std::error::Error::source(&error) {
            Some(cause) => built.because(cause.to_string()),
            None => built,
        }
    }
}

impl From<CommError> for BuildError {
    fn from(error: CommError) -> Self {
        let kind = match error.kind() {
            CommErrorKind::Cancelled => BuildErrorKind::Cancelled,
            CommErrorKind::Unreachable
            | CommErrorKind::HostKey
            | CommErrorKind::Auth
            | CommErrorKind::Lost => BuildErrorKind::Machine,
            CommErrorKind::Failed | CommErrorKind::TimedOut | CommErrorKind::Io => {
                BuildErrorKind::Failed
            }
        };
        let built = Self::new(kind, error.to_string());
        match std::error::Error::source(&error) {
            Some(cause) => built.because(cause.to_string()),
            None => built,
        }
    }
}

//! This crate's error. The libraries of floor 3 have errors of their own, which become this one with all
//! their causes where a trait's method returns.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_comm::{CommError, CommErrorKind};
use imgbake_disk::{DiskError, DiskErrorKind};
use imgbake_runtime::{RuntimeError, RuntimeErrorKind, space};
use imgbake_types::channel::ChannelNameError;

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
    what: What,
    help: Option<String>,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error's words and its cause.
#[derive(Debug)]
enum What {
    /// This crate's own words.
    Said { context: String, source: Option<Source> },
    /// Another crate's error: its message and its causes.
    Other(Source),
}

impl BuildError {
    /// An error with its own words.
    pub fn new(kind: BuildErrorKind, context: impl Into<String>) -> Self {
        Self { kind, what: What::Said { context: context.into(), source: None }, help: None }
    }

    /// Another crate's error with its message and its causes.
    pub fn of(kind: BuildErrorKind, error: impl Into<Source>) -> Self {
        Self { kind, what: What::Other(error.into()), help: None }
    }

    /// The work failed.
    pub fn failed(context: impl Into<String>) -> Self {
        Self::new(BuildErrorKind::Failed, context)
    }

    /// Gives it its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        let context = match self.what {
            What::Said { context, .. } => context,
            What::Other(error) => error.to_string(),
        };
        self.what = What::Said { context, source: Some(source.into()) };
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what the user can do about it, where there is something.
    #[must_use]
    pub fn help_if_any(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
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
        match &self.what {
            What::Said { context, .. } => f.write_str(context),
            What::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.what {
            What::Said { source, .. } => source.as_ref().map(|source| &**source as _),
            What::Other(error) => error.source(),
        }
    }
}

impl From<RuntimeErrorKind> for BuildErrorKind {
    fn from(kind: RuntimeErrorKind) -> Self {
        match kind {
            RuntimeErrorKind::Cancelled => Self::Cancelled,
            RuntimeErrorKind::MissingProgram => Self::Lacking,
            RuntimeErrorKind::Full => Self::Full,
            RuntimeErrorKind::Failed
            | RuntimeErrorKind::TimedOut
            | RuntimeErrorKind::Denied
            | RuntimeErrorKind::Io => Self::Failed,
        }
    }
}

impl From<RuntimeError> for BuildError {
    fn from(error: RuntimeError) -> Self {
        Self::of(error.kind().into(), error)
    }
}

impl From<ChannelNameError> for BuildError {
    fn from(error: ChannelNameError) -> Self {
        Self::new(BuildErrorKind::Usage, error.to_string())
            .help("choose a name such as dev, staging or prod")
    }
}

impl From<CommErrorKind> for BuildErrorKind {
    fn from(kind: CommErrorKind) -> Self {
        match kind {
            CommErrorKind::Cancelled => Self::Cancelled,
            CommErrorKind::Unreachable
            | CommErrorKind::HostKey
            | CommErrorKind::Auth
            | CommErrorKind::Lost => Self::Machine,
            CommErrorKind::Failed | CommErrorKind::TimedOut | CommErrorKind::Io => Self::Failed,
        }
    }
}

impl From<CommError> for BuildError {
    fn from(error: CommError) -> Self {
        Self::of(error.kind().into(), error)
    }
}

/// A disk image's error as a build's.
pub fn disk_error(error: DiskError) -> BuildError {
    if error.kind() == DiskErrorKind::Full {
        let path = error.path().map_or_else(|| Utf8PathBuf::from("/"), Utf8Path::to_owned);
        return space::full(&path, None).into();
    }
    BuildError::new(BuildErrorKind::Failed, error.to_string()).because(error)
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io;

    use super::*;

    #[test]
    fn another_crates_error_keeps_its_words_and_causes() {
        let cause = io::Error::other("the disk is on fire");
        let error = BuildError::from(RuntimeError::io("read", Utf8Path::new("/x"), cause));
        assert_eq!(error.to_string(), "cannot read /x");
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        assert_eq!(cause.map(ToString::to_string).as_deref(), Some("the disk is on fire"));
        let error = error.because("it was hot");
        assert_eq!(error.to_string(), "cannot read /x");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("it was hot"));
    }
}

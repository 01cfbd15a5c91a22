//! This crate's error.

use std::fmt;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommErrorKind {
    /// Nothing answered.
    Unreachable,
    /// What answered has another host key than the seed's.
    HostKey,
    /// The machine did not take the key.
    Auth,
    /// The connection ended.
    Lost,
    /// A command failed.
    Failed,
    /// A command or connection took too long.
    TimedOut,
    /// The job was cancelled.
    Cancelled,
    /// Something on the host's side.
    Io,
}

/// What went wrong between host and machine.
#[derive(Debug)]
pub struct CommError {
    kind: CommErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CommError {
    /// An error with its own words.
    pub fn new(kind: CommErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// An error with its cause.
    pub fn with(
        kind: CommErrorKind,
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, context: context.into(), source: Some(source.into()) }
    }

    /// What a caller may act on.
    pub const fn kind(&self) -> CommErrorKind {
        self.kind
    }
}

impl fmt::Display for CommError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for CommError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

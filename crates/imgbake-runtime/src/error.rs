//! This crate's error.

use std::fmt;
use std::io;

use camino::Utf8Path;
use imgbake_types::Size;

use crate::space::{free_bytes, mount_point};

/// What kind of thing went wrong: what a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeErrorKind {
    /// The user or another task ended the job.
    Cancelled,
    /// A program is not installed.
    MissingProgram,
    /// A program ran and failed.
    Failed,
    /// Something did not happen in its time.
    TimedOut,
    /// A file system is full.
    Full,
    /// A file system is read-only, or a file belongs to somebody else.
    Denied,
    /// The operating system refused something else.
    Io,
}

/// What went wrong, doing what, and why.
#[derive(Debug)]
pub struct RuntimeError {
    kind: RuntimeErrorKind,
    context: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl RuntimeError {
    /// An error with its own words.
    pub fn new(kind: RuntimeErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// The job was cancelled.
    pub fn cancelled() -> Self {
        Self::new(RuntimeErrorKind::Cancelled, "interrupted")
    }

    /// An operating system's error, with the operation and path. A full file system is distinguished and
    /// named.
    pub fn io(operation: &str, path: &Utf8Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return full(path, None);
        }
        let denied = matches!(
            source.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        );
        Self {
            kind: if denied { RuntimeErrorKind::Denied } else { RuntimeErrorKind::Io },
            context: format!("cannot {operation} {path}"),
            source: Some(Box::new(source)),
        }
    }

    /// A program that is not installed, and the package that holds it.
    pub fn missing(program: &str, package: &str) -> Self {
        Self::new(
            RuntimeErrorKind::MissingProgram,
            format!(
                "`{program}` is not installed: it is in the package `{package}` (apt-get install {package})"
            ),
        )
    }

    /// What a caller may act on.
    pub const fn kind(&self) -> RuntimeErrorKind {
        self.kind
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for RuntimeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// The error for a full file system: which one, what is free, what was needed.
pub fn full(path: &Utf8Path, needed: Option<u64>) -> RuntimeError {
    let free = Size::bytes(free_bytes(path).unwrap_or(0)).human();
    let needed =
        needed.map_or_else(String::new, |n| format!(", {} needed", Size::bytes(n).human()));
    RuntimeError::new(
        RuntimeErrorKind::Full,
        format!(
            "no space left on the file system {} ({free} free{needed}), writing {path}",
            mount_point(path)
        ),
    )
}

/// An error's words with those of its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// For `map_err`: names the operation and the path of an operating system's error.
pub fn io_at<'a>(
    operation: &'a str,
    path: &'a Utf8Path,
) -> impl FnOnce(io::Error) -> RuntimeError + 'a {
    move |source| RuntimeError::io(operation, path, source)
}

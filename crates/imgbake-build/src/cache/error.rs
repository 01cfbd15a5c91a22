//! What keeps the layer cache from being used, or a layer from being made.

use std::fmt;
use std::io;

use camino::Utf8Path;
use imgbake_disk::{DiskError, DiskErrorKind};
use imgbake_runtime::{RuntimeError, RuntimeErrorKind, space};

use crate::{BuildError, BuildErrorKind};

/// What kind of thing went wrong: what a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheErrorKind {
    /// The file system is full.
    Full,
    /// The folder is read-only, or no folder.
    Unusable,
    /// The folder was written by another version of imgbake.
    Format,
    /// The layer exists already.
    Exists,
    /// The layer is in use.
    InUse,
    /// The layer below does not exist.
    Parent,
    /// What shall become a layer does not fit together.
    Invalid,
    /// The operating system refused something else.
    Io,
}

/// What went wrong with the layer cache, and what to do about it.
#[derive(Debug)]
pub struct CacheError {
    kind: CacheErrorKind,
    context: String,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CacheError {
    pub(super) fn new(kind: CacheErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), help: None, source: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// An operating system's error, with the operation and path.
    pub(super) fn io(operation: &str, path: &Utf8Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                return Self::new(CacheErrorKind::Full, space::full(path, None).to_string());
            }
            io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory => CacheErrorKind::Unusable,
            _ => CacheErrorKind::Io,
        };
        let mut error = Self::new(kind, format!("cannot {operation} {path}"));
        error.source = Some(Box::new(source));
        error
    }

    /// What a caller may act on.
    pub const fn kind(&self) -> CacheErrorKind {
        self.kind
    }

    /// What the user can do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for CacheError {
    /// All in one line, cause included: most of these are reported in a notice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CacheError {}

impl From<DiskError> for CacheError {
    fn from(error: DiskError) -> Self {
        let kind = match error.kind() {
            DiskErrorKind::Full => CacheErrorKind::Full,
            DiskErrorKind::Io => CacheErrorKind::Io,
            _ => CacheErrorKind::Invalid,
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::new(kind, format!("{error}{}", cause.unwrap_or_default()))
    }
}

impl From<RuntimeError> for CacheError {
    fn from(error: RuntimeError) -> Self {
        let kind = match error.kind() {
            RuntimeErrorKind::Full => CacheErrorKind::Full,
            _ => CacheErrorKind::Io,
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::new(kind, format!("{error}{}", cause.unwrap_or_default()))
    }
}

impl From<CacheError> for BuildError {
    fn from(error: CacheError) -> Self {
        let kind = match error.kind {
            CacheErrorKind::Full => BuildErrorKind::Full,
            _ => BuildErrorKind::Failed,
        };
        let built = Self::new(kind, error.to_string());
        match error.help {
            Some(help) => built.help(help),
            None => built,
        }
    }
}

/// For `map_err`: names the operation and the path of an operating system's error.
pub(super) fn io_at<'a>(
    operation: &'a str,
    path: &'a Utf8Path,
) -> impl FnOnce(io::Error) -> CacheError + 'a {
    move |source| CacheError::io(operation, path, source)
}

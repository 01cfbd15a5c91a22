//! The one error of this crate: what kind it is, where in which file, what was being done.

use std::{error::Error as StdError, fmt, io};

use camino::{Utf8Path, Utf8PathBuf};

/// What this crate's functions return.
pub type Result<T, E = DiskError> = std::result::Result<T, E>;

/// The kinds of failure a caller may want to distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiskErrorKind {
    /// The file or stream ends before the bytes it promises.
    Truncated,
    /// The bytes contradict their format or each other.
    Corrupt,
    /// A valid use of a format that imgbake does not read or write.
    Unsupported,
    /// The content does not fit: the host's disk, or the volume being made.
    Full,
    /// A path in a file system names nothing.
    NotFound,
    /// The host's system refused an operation.
    Io,
}

impl fmt::Display for DiskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "not supported",
            Self::Full => "no space",
            Self::NotFound => "not found",
            Self::Io => "input/output error",
        })
    }
}

/// A failure in reading or writing a disk.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DiskError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: DiskErrorKind,
    detail: String,
    path: Option<Utf8PathBuf>,
    offset: Option<u64>,
    source: Option<io::Error>,
}

impl StdError for Inner {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| e as _)
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        write!(f, "{} ({}", self.detail, self.kind)?;
        if let Some(offset) = self.offset {
            write!(f, ", at byte {offset}")?;
        }
        f.write_str(")")
    }
}

impl DiskError {
    /// An error of `kind`; `detail` says what was being done or what does not add up.
    pub fn new(kind: DiskErrorKind, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            path: None,
            offset: None,
            source: None,
        }))
    }

    /// The host's system refused `doing`. Full disks and short reads get their own kind.
    pub fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::UnexpectedEof => DiskErrorKind::Truncated,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::WriteZero => DiskErrorKind::Full,
            _ => DiskErrorKind::Io,
        };
        let mut error = Self::new(kind, doing);
        error.0.source = Some(source);
        error
    }

    pub(crate) fn corrupt(detail: impl Into<String>) -> Self {
        Self::new(DiskErrorKind::Corrupt, detail)
    }

    pub(crate) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(DiskErrorKind::Unsupported, detail)
    }

    pub(crate) fn truncated(detail: impl Into<String>) -> Self {
        Self::new(DiskErrorKind::Truncated, detail)
    }

    pub(crate) fn full(detail: impl Into<String>) -> Self {
        Self::new(DiskErrorKind::Full, detail)
    }

    /// Names the file, unless a deeper place named one already.
    pub(crate) fn in_file(mut self, path: &Utf8Path) -> Self {
        self.0.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// Names the byte, unless a deeper place named one already.
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> DiskErrorKind {
        self.0.kind
    }

    /// The file it is about, where there is one.
    pub fn path(&self) -> Option<&Utf8Path> {
        self.0.path.as_deref()
    }

    /// The byte in the file (or of the virtual disk, or the stream) it is about.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// What was being done, or what does not add up.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

//! This crate's error.

use imgbake_http::{BoxError, HttpError, HttpErrorKind, Retryable, Transient};
use imgbake_runtime::{RuntimeError, RuntimeErrorKind};

/// What kind of thing went wrong: what a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OciErrorKind {
    /// The registry refuses, or gives what cannot be right.
    Failed,
    /// There is no way to the registry, or it answered with a status of failure.
    Http(HttpErrorKind),
    /// What was asked for cannot be: no host, no repository name, too long a manifest.
    Usage,
    /// A tag names something else.
    Refused,
    /// Something named does not exist.
    NotFound,
    /// The user interrupted.
    Cancelled,
    /// A program is missing, such as a credential helper.
    Lacking,
    /// A file system is full.
    Full,
    /// The bytes that were to be sent could not be read: the cause is the [`BodySource`]'s own error.
    ///
    /// [`BodySource`]: imgbake_http::BodySource
    Source,
}

/// What went wrong, why, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct OciError {
    kind: OciErrorKind,
    context: String,
    help: Option<String>,
    source: Option<BoxError>,
    transient: Option<Transient>,
}

impl OciError {
    /// An error with its own message.
    pub fn new(kind: OciErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), help: None, source: None, transient: None }
    }

    /// The registry refuses, or gives what cannot be right.
    pub(crate) fn failed(context: impl Into<String>) -> Self {
        Self::new(OciErrorKind::Failed, context)
    }

    /// An error that may be gone with the next attempt.
    pub(crate) fn transient(context: impl Into<String>) -> Self {
        Self { transient: Some(Transient::default()), ..Self::failed(context) }
    }

    /// Whether another attempt may go better.
    pub(crate) const fn is_transient(&self) -> bool {
        self.transient.is_some()
    }

    /// Gives it its cause.
    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What a caller may act on.
    pub const fn kind(&self) -> OciErrorKind {
        self.kind
    }

    /// What the user can do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Takes its cause out.
    pub fn into_source(self) -> Option<BoxError> {
        self.source
    }
}

impl Retryable for OciError {
    fn as_transient(&self) -> Option<Transient> {
        self.transient
    }

    fn gave_up(self, context: String, help: Option<&str>) -> Self {
        Self { context, transient: None, help: help.map(str::to_owned).or(self.help), ..self }
    }
}

impl From<HttpError> for OciError {
    fn from(error: HttpError) -> Self {
        let kind = match error.kind() {
            HttpErrorKind::Usage => OciErrorKind::Usage,
            HttpErrorKind::Status(404 | 410) => OciErrorKind::NotFound,
            HttpErrorKind::Source => OciErrorKind::Source,
            HttpErrorKind::Cancelled => OciErrorKind::Cancelled,
            kind => OciErrorKind::Http(kind),
        };
        let (context, help) = (error.to_string(), error.help_text().map(str::to_owned));
        let transient = error.as_transient();
        Self { kind, context, help, source: error.into_source(), transient }
    }
}

impl From<RuntimeError> for OciError {
    fn from(error: RuntimeError) -> Self {
        let kind = match error.kind() {
            RuntimeErrorKind::Cancelled => OciErrorKind::Cancelled,
            RuntimeErrorKind::MissingProgram => OciErrorKind::Lacking,
            RuntimeErrorKind::Full => OciErrorKind::Full,
            RuntimeErrorKind::Failed
            | RuntimeErrorKind::TimedOut
            | RuntimeErrorKind::Denied
            | RuntimeErrorKind::Io => OciErrorKind::Failed,
        };
        let oci = Self::new(kind, error.to_string());
        // The message is the error's own: what is below it is its cause.
        match std::error::Error::source(&error) {
            Some(cause) => oci.because(cause.to_string()),
            None => oci,
        }
    }
}

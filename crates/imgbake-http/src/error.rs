//! This crate's error.

use std::time::Duration;

use imgbake_runtime::{RuntimeError, RuntimeErrorKind};

use crate::retry::{Retryable, Transient};

/// An error of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What kind of thing went wrong: what a caller may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpErrorKind {
    /// The request, or the client, cannot be: a header, a file of certificates.
    Usage,
    /// There is no connection to the server.
    Connect,
    /// The server has no certificate that this machine trusts, or speaks no TLS.
    Tls,
    /// The server was silent for too long.
    Timeout,
    /// The connection was cut, or what came is no HTTP.
    Broken,
    /// The server answered with this status.
    Status(u16),
    /// The answer's body is not what it should be: cut, too long, other bytes.
    Body,
    /// A redirect was not followed: too many of them, to plain http, to another host.
    Redirect,
    /// The body that was to be sent could not be read: the cause is the [`BodySource`]'s own error.
    ///
    /// [`BodySource`]: crate::BodySource
    Source,
    /// The user interrupted.
    Cancelled,
}

/// What went wrong, why, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct HttpError {
    kind: HttpErrorKind,
    context: String,
    help: Option<String>,
    source: Option<BoxError>,
    transient: Option<Transient>,
}

impl HttpError {
    /// An error that another attempt would give again.
    pub fn new(kind: HttpErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), help: None, source: None, transient: None }
    }

    /// An error that may be gone with the next attempt.
    pub fn transient(kind: HttpErrorKind, context: impl Into<String>) -> Self {
        Self { transient: Some(Transient::default()), ..Self::new(kind, context) }
    }

    /// Says how long the server wants to be left alone, where another attempt may go better.
    #[must_use]
    pub(crate) fn after(mut self, wait: Option<Duration>) -> Self {
        if let Some(transient) = &mut self.transient {
            transient.after = wait;
        }
        self
    }

    /// Gives it its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether another attempt may go better.
    pub const fn is_transient(&self) -> bool {
        self.transient.is_some()
    }

    /// What a caller may act on.
    pub const fn kind(&self) -> HttpErrorKind {
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

impl Retryable for HttpError {
    fn as_transient(&self) -> Option<Transient> {
        self.transient
    }

    fn gave_up(self, context: String, help: Option<&str>) -> Self {
        Self { context, transient: None, help: help.map(str::to_owned).or(self.help), ..self }
    }
}

impl From<RuntimeError> for HttpError {
    fn from(error: RuntimeError) -> Self {
        let kind = match error.kind() {
            RuntimeErrorKind::Cancelled => HttpErrorKind::Cancelled,
            RuntimeErrorKind::TimedOut => HttpErrorKind::Timeout,
            RuntimeErrorKind::MissingProgram
            | RuntimeErrorKind::Failed
            | RuntimeErrorKind::Full
            | RuntimeErrorKind::Denied
            | RuntimeErrorKind::Io => HttpErrorKind::Usage,
        };
        let http = Self::new(kind, error.to_string());
        // The message is the error's own: what is below it is its cause.
        match std::error::Error::source(&error) {
            Some(cause) => http.because(cause.to_string()),
            None => http,
        }
    }
}

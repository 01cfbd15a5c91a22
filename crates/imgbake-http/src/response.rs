//! What a server answered.

use std::time::Duration;

use bytes::Bytes;
use imgbake_runtime::Job;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use url::Url;

use crate::error::{HttpError, HttpErrorKind};
use crate::origin::shown;
use crate::{Result, redirect};

/// How much of an error's body is read, in bytes.
const ERROR_BODY: usize = 16 << 10;
/// How long is waited for more of it.
const ERROR_PATIENCE: Duration = Duration::from_secs(30);

/// What a server answered.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
    job: Job,
}

impl Response {
    pub(crate) fn new(inner: reqwest::Response, job: &Job) -> Self {
        Self { inner, job: job.clone() }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header's text; `None` where there is none, or it is no text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Whoever answered, after all redirects.
    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// The body's length, where it is known.
    pub fn content_length(&self) -> Option<u64> {
        self.inner.content_length()
    }

    /// The URL for people, without secrets.
    pub fn shown_url(&self) -> String {
        self.job.secrets().redact(&shown(self.url()))
    }

    /// Where its `Location` leads.
    ///
    /// # Errors
    /// Those of [`crate::resolve_redirect`].
    pub fn location(&self) -> Result<Url> {
        redirect::resolve(self.url(), self.header(&LOCATION))
    }

    /// The next bytes of the body.
    ///
    /// # Errors
    /// The connection was cut, or the server is silent: to be tried again. The job was cancelled.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.job.cancel().run(self.inner.chunk()).await?;
        chunk.map_err(|error| broken(error, &self.shown_url()))
    }

    /// A whole body of at most so many bytes.
    ///
    /// # Errors
    /// Those of [`Response::chunk`]; there are more bytes.
    pub async fn bytes(mut self, most: usize) -> Result<Bytes> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > most {
                let context =
                    format!("{} answers with more than {} KiB", self.shown_url(), most >> 10);
                return Err(HttpError::new(HttpErrorKind::Body, context));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// The first part of a body that says what went wrong, as far as it comes.
    pub async fn error_body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Ok(Ok(Some(chunk))) = tokio::time::timeout(ERROR_PATIENCE, self.chunk()).await {
            body.extend_from_slice(&chunk[..chunk.len().min(ERROR_BODY - body.len())]);
            if body.len() == ERROR_BODY {
                break;
            }
        }
        body
    }

    /// The error of a status that is no success. `name` is who answered, `details` what it says of the
    /// error.
    pub fn status_error(&self, name: &str, details: &str) -> HttpError {
        let status = self.status();
        let colon = if details.is_empty() { "" } else { ": " };
        let context = format!("{name} answers {status}{colon}{details}");
        let kind = HttpErrorKind::Status(status.as_u16());
        match status.as_u16() {
            // What a server or something before it says for a while; the last ones are of content delivery networks.
            408 | 425 | 429 | 500 | 502..=504 | 507 | 509 | 520..=530 => {
                let after = self.header(&RETRY_AFTER).and_then(imgbake_runtime::retry::after);
                HttpError::transient(kind, context).after(after)
            }
            _ => HttpError::new(kind, context),
        }
    }
}

/// The error of a connection that failed or was cut.
pub(crate) fn broken(error: reqwest::Error, name: &str) -> HttpError {
    // What rustls says of a certificate, and of a server that speaks no TLS.
    const TLS: [&str; 3] = ["certificate", "InvalidContentType", "corrupt message"];
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    let kind = if error.is_builder() {
        HttpErrorKind::Usage
    } else if TLS.iter().any(|part| why.contains(part)) {
        HttpErrorKind::Tls
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_body() || error.is_decode() {
        HttpErrorKind::Body
    } else {
        HttpErrorKind::Broken
    };
    match kind {
        HttpErrorKind::Usage | HttpErrorKind::Tls => {
            HttpError::new(kind, format!("cannot connect to {name}: {why}"))
        }
        _ => HttpError::transient(kind, format!("{name}: {why}")),
    }
}

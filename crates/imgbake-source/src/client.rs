//! Servers of base disks: the template's headers, and how patiently they are asked.

use std::collections::BTreeMap;

use imgbake_http::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use imgbake_http::{
    Client, ClientOptions, HttpError, HttpErrorKind, Method, Request, Response, Retry, RetryPolicy,
    StatusCode, Url,
};
use imgbake_runtime::{Job, StageGuard};
use secrecy::ExposeSecret;

use crate::error::SourceError;

/// A client for one source.
#[derive(Debug)]
pub(crate) struct SourceClient<'a> {
    pub(crate) job: &'a Job,
    /// Where progress is reported; none where no stage runs yet.
    pub(crate) stage: Option<&'a StageGuard>,
    retries: RetryPolicy,
    client: Client,
    /// The template's headers, and the one origin that may see them.
    headers: HeaderMap,
    origin: Option<Url>,
}

impl<'a> SourceClient<'a> {
    /// A client whose `headers` go to the origin of `origin` and nowhere else. Their markers are
    /// revealed here.
    pub(crate) fn new(
        (job, stage): (&'a Job, Option<&'a StageGuard>),
        headers: &BTreeMap<String, String>,
        origin: Option<&Url>,
        retries: RetryPolicy,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            job,
            stage,
            retries,
            client: Client::new(job, &ClientOptions::default())?,
            headers: revealed(job, headers)?,
            origin: origin.cloned(),
        })
    }

    /// Begins a download, to be tried again.
    pub(crate) fn retry(&self, url: &Url) -> Retry<'a> {
        let what = format!("get {}", self.client.shown(url));
        let retry = Retry::new(self.job.cancel(), what, self.retries);
        match self.stage {
            Some(stage) => retry
                .help("what was downloaded is kept: the next build resumes from there")
                .report(move |why| stage.status(format!("{why}: trying again"))),
            None => retry,
        }
    }

    /// Asks for `url`. The answer has a status of success, or 416.
    pub(crate) async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Response, HttpError> {
        let answer = self.send(Method::GET, url, headers).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(answer);
        }
        Err(status_error(&answer))
    }

    /// Asks for what a GET would say beside the bytes. The answer has a status of success, or one that
    /// says that this server wants no such question.
    pub(crate) async fn head(&self, url: &Url) -> Result<Response, SourceError> {
        let mut retry = self.retry(url);
        // Bytes as they are stored: an answer about packed ones would be another.
        let plain = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        loop {
            let error = match self.send(Method::HEAD, url, plain.clone()).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if matches!(answer.status().as_u16(), 400 | 403 | 405 | 501) => {
                    return Ok(answer);
                }
                Ok(answer) => status_error(&answer),
                Err(error) => error,
            };
            retry.after(error).await?;
        }
    }

    /// Sends the template's headers with a request, to their origin alone.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, HttpError> {
        let mut request = Request::new(method, url.clone());
        request.headers = headers;
        if let Some(origin) = &self.origin {
            request.set_credentials(self.headers.clone(), origin);
        }
        self.client.send(&request).await
    }

    /// Gets a checksum file, at most `most` bytes.
    pub(crate) async fn text(&self, url: &Url, most: usize) -> Result<String, SourceError> {
        match self.small(url, most).await {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(SourceError::Http(error)) if error.kind() == HttpErrorKind::Body => {
                Err(SourceError::NoChecksumFile(error.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// Gets a small file, at most `most` bytes.
    pub(crate) async fn small(&self, url: &Url, most: usize) -> Result<Vec<u8>, SourceError> {
        let mut retry = self.retry(url);
        loop {
            let bytes = async { self.get(url, HeaderMap::new()).await?.bytes(most).await };
            match bytes.await {
                Ok(bytes) => return Ok(bytes.into()),
                Err(error) if error.kind() == HttpErrorKind::Body && !error.is_transient() => {
                    return Err(error.into());
                }
                Err(error) => retry.after(error).await?,
            }
        }
    }
}

/// The headers as they are sent. Errors name the header and never its value.
fn revealed(job: &Job, headers: &BTreeMap<String, String>) -> Result<HeaderMap, SourceError> {
    let mut out = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |part| SourceError::Header { part, name: name.clone() };
        let key = HeaderName::try_from(name).map_err(|_| wrong("name"))?;
        let value = job.secrets().reveal(value);
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| wrong("value"))?;
        value.set_sensitive(true);
        out.insert(key, value);
    }
    Ok(out)
}

/// The error of a status that is no success.
fn status_error(answer: &Response) -> HttpError {
    let error = answer.status_error(&answer.shown_url(), "");
    match error.kind() {
        HttpErrorKind::Status(401 | 403 | 407) => {
            error.help("does the source need `headers`, such as an Authorization?")
        }
        _ => error,
    }
}

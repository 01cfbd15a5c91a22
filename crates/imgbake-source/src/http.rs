//! Asking a server: redirects that stay safe, headers that stay where they belong.

use std::collections::BTreeMap;
use std::time::Duration;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::{Job, StageGuard};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::ExposeSecret;
use url::Url;

use crate::location::shown;
use crate::retry::{Patience, Retry, Stop};

/// As many as browsers follow, halved.
const MAX_REDIRECTS: usize = 10;
/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a server may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// A client for one source.
#[derive(Debug)]
pub(crate) struct Http<'a> {
    pub(crate) job: &'a Job,
    /// Where it is told what happens; none where no stage runs yet.
    pub(crate) stage: Option<&'a StageGuard>,
    pub(crate) patience: Patience,
    client: Client,
    /// The template's headers, and the one origin that may see them.
    headers: HeaderMap,
    origin: Option<Url>,
}

impl<'a> Http<'a> {
    /// A client whose `headers` go to the origin of `origin` and nowhere else. Their markers are
    /// revealed here.
    pub(crate) fn new(
        (job, stage): (&'a Job, Option<&'a StageGuard>),
        headers: &BTreeMap<String, String>,
        origin: Option<&Url>,
        patience: Patience,
    ) -> Result<Self, BuildError> {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .referer(false)
            .user_agent(concat!("imgbake/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| BuildError::failed("cannot prepare for https").because(error))?;
        Ok(Self {
            job,
            stage,
            patience,
            client,
            headers: revealed(job, headers)?,
            origin: origin.cloned(),
        })
    }

    /// Begins a download of `what`, to be tried again.
    pub(crate) fn retry(&self, what: &Url) -> Retry<'a> {
        Retry::new(self.job, self.stage, self.shown(what), self.patience)
    }

    /// A URL for people, without secrets.
    pub(crate) fn shown(&self, url: &Url) -> String {
        self.job.secrets().redact(&shown(url))
    }

    /// Asks for `from` and follows redirects. The answer has a status of success, or 416.
    pub(crate) async fn get(&self, from: &Url, extra: &HeaderMap) -> Result<Response, Stop> {
        let answer = self.ask(Method::GET, from, extra).await?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(answer);
        }
        Err(refused(&answer, &self.shown(answer.url())))
    }

    /// Asks for what a GET would tell beside the bytes. The answer has a status of success, or one that
    /// says that this server wants no such question.
    pub(crate) async fn head(&self, from: &Url) -> Result<Response, BuildError> {
        let mut retry = self.retry(from);
        // Bytes as they are stored: an answer about packed ones would be another.
        let plain = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        loop {
            let stop = match self.ask(Method::HEAD, from, &plain).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if matches!(answer.status().as_u16(), 400 | 403 | 405 | 501) => {
                    return Ok(answer);
                }
                Ok(answer) => refused(&answer, &self.shown(answer.url())),
                Err(stop) => stop,
            };
            retry.after(stop).await?;
        }
    }

    /// Asks and follows redirects; the answer is the first that is none.
    async fn ask(&self, method: Method, from: &Url, extra: &HeaderMap) -> Result<Response, Stop> {
        let mut url = from.clone();
        let mut trusted = self.origin.as_ref().is_some_and(|origin| same_origin(origin, &url));
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = if trusted { self.headers.clone() } else { HeaderMap::new() };
            headers.extend(extra.clone());
            let request = self.client.request(method.clone(), url.clone()).headers(headers).send();
            let answer = self
                .job
                .cancel()
                .run(request)
                .await?
                .map_err(|error| broken(error, &self.shown(&url)))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let target = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = redirect(&url, target, &self.shown(&url))?;
            trusted &= same_origin(&url, &next);
            url = next;
        }
        let why = format!("{} redirects more than {MAX_REDIRECTS} times", self.shown(from));
        Err(Stop::Fatal(BuildError::failed(why)))
    }

    /// Gets a small text, at most `most` bytes.
    pub(crate) async fn text(&self, url: &Url, most: usize) -> Result<String, BuildError> {
        let mut retry = self.retry(url);
        loop {
            match self.text_once(url, most).await {
                Ok(text) => return Ok(text),
                Err(stop) => retry.after(stop).await?,
            }
        }
    }

    async fn text_once(&self, url: &Url, most: usize) -> Result<String, Stop> {
        let mut answer = self.get(url, &HeaderMap::new()).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) =
            self.job.cancel().run(answer.chunk()).await?.map_err(|e| broken(e, &self.shown(url)))?
        {
            if bytes.len() + chunk.len() > most {
                let why = format!(
                    "{} is longer than {most} bytes: it is no checksum file",
                    self.shown(url)
                );
                return Err(Stop::Fatal(BuildError::failed(why)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The headers as they are sent. Errors name the header and never its value.
fn revealed(job: &Job, headers: &BTreeMap<String, String>) -> Result<HeaderMap, BuildError> {
    let mut out = HeaderMap::new();
    for (name, value) in headers {
        let wrong = |part: &str| {
            let why = format!("the {part} of the source's header `{name}` is not allowed in HTTP");
            BuildError::new(BuildErrorKind::Usage, why)
        };
        let key = HeaderName::try_from(name).map_err(|_| wrong("name"))?;
        let value = job.secrets().reveal(value);
        let mut value = HeaderValue::try_from(value.expose_secret()).map_err(|_| wrong("value"))?;
        value.set_sensitive(true);
        out.insert(key, value);
    }
    Ok(out)
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Where a redirect leads (RFC 9110, section 15.4). One from https to http is refused.
pub(crate) fn redirect(from: &Url, target: Option<&str>, name: &str) -> Result<Url, BuildError> {
    let wrong = |why: &str| BuildError::failed(format!("{name} redirects {why}"));
    let target = target.ok_or_else(|| wrong("without saying where to"))?;
    let url = from.join(target).map_err(|_| wrong("to what is no URL"))?;
    match (from.scheme(), url.scheme()) {
        ("https", "http") => Err(wrong("from https to http, which is refused")),
        (_, "http" | "https") => Ok(url),
        _ => Err(wrong("to what is neither https nor http")),
    }
}

/// A connection that failed or was cut.
pub(crate) fn broken(error: reqwest::Error, name: &str) -> Stop {
    let error = error.without_url();
    let fatal = error.is_builder();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    if fatal || why.contains("certificate") {
        return Stop::Fatal(BuildError::failed(format!("cannot connect to {name}: {why}")));
    }
    Stop::again(why)
}

/// A status that is no success.
fn refused(answer: &Response, name: &str) -> Stop {
    let status = answer.status();
    let why = format!("{name} answers {status}");
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502..=504 => {
            let after = answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| imgbake_runtime::retry::after(value.to_str().ok()?));
            Stop::Again { why: format!("the server answers {status}"), after, moved: false }
        }
        404 | 410 => Stop::Fatal(BuildError::new(BuildErrorKind::NotFound, why)),
        401 | 403 | 407 => Stop::Fatal(
            BuildError::failed(why)
                .help("does the source need `headers`, such as an Authorization?"),
        ),
        _ => Stop::Fatal(BuildError::failed(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_safe_places() {
        let from: Url = "https://h.example/a/b?token=1".parse().unwrap();
        for (target, expected) in [
            (Some("c"), Ok("https://h.example/a/c")),
            (Some("https://other.example/x"), Ok("https://other.example/x")),
            (Some("http://h.example/a"), Err("from https to http")),
            (Some("file:///etc/shadow"), Err("neither https nor http")),
            (Some("https://["), Err("no URL")),
            (None, Err("without saying")),
        ] {
            match (redirect(&from, target, "h"), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{error}");
                }
                (got, expected) => panic!("{target:?}: {got:?}, not {expected:?}"),
            }
        }
        let plain: Url = "http://h.example/".parse().unwrap();
        assert!(redirect(&plain, Some("https://h.example/"), "h").is_ok());
    }
}

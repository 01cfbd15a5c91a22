//! One request: authorised, sent, its redirects followed, its answer judged.

use std::time::Duration;

use bytes::Bytes;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::Job;
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Certificate, Client, ClientBuilder, Method, Response, StatusCode};
use url::Url;

use super::Remote;
use super::auth::{Auth, Scope};
use super::body::{Body, Sending};
use super::challenge::{self, Challenge};
use super::endpoint::shown;
use super::retry::Stop;
use super::words::words;

/// Half as many as browsers follow.
const MAX_REDIRECTS: usize = 10;
/// How long a server may take to accept.
pub(super) const CONNECT: Duration = Duration::from_secs(30);
/// How long a server may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// What is asked of a registry.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body<'a>,
    pub(super) scope: &'a Scope,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, url: Url, scope: &'a Scope) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Nothing, scope }
    }
}

/// Clients for what is asked, and for what is uploaded: while a body is sent, no answer is late.
pub(super) fn clients(direct: bool, ca: &[Certificate]) -> Result<(Client, Client), BuildError> {
    let build = |builder: ClientBuilder| {
        builder
            .build()
            .map_err(|error| BuildError::failed("cannot prepare for https").because(error))
    };
    Ok((build(builder(direct, ca).read_timeout(SILENCE))?, build(builder(direct, ca))?))
}

/// What both have in common. Redirects are followed here, where what is sent can be chosen.
fn builder(direct: bool, ca: &[Certificate]) -> ClientBuilder {
    let builder = Client::builder()
        .tls_certs_merge(ca.to_vec())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .referer(false)
        .user_agent(concat!("imgbake/", env!("CARGO_PKG_VERSION")));
    // What is said to this machine itself goes through nobody else.
    if direct { builder.no_proxy() } else { builder }
}

impl Remote {
    /// One attempt. Any answer but a redirect or a refusal of the user is given as it is.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, Stop> {
        let mut carried = self.authorization(ask.scope).await?;
        let mut answer = self.send(ask, carried.as_ref()).await?;
        for is_last in [false, true] {
            if answer.status() != StatusCode::UNAUTHORIZED || !self.endpoint().owns(answer.url()) {
                break;
            }
            let renewed = self.renewed(ask.scope, &answer, carried, is_last).await?;
            let Some(renewed) = renewed else { break };
            answer = self.send(ask, Some(&renewed)).await?;
            carried = Some(renewed);
        }
        self.allowed(ask, answer).await
    }

    /// What may serve after a refusal: a token may have ended early, or a registry only now says what it
    /// wants. A token of a few uses may be used up by others before it is sent, so the last one is this
    /// request's own.
    async fn renewed(
        &self,
        scope: &Scope,
        answer: &Response,
        carried: Option<HeaderValue>,
        is_last: bool,
    ) -> Result<Option<HeaderValue>, Stop> {
        if let Some(challenge) = challenge(answer) {
            self.auth().learn(challenge);
        }
        if let Some(carried) = &carried {
            self.forget(scope, carried).await;
        }
        if is_last {
            let lacks = wanted(answer).any(challenge::lacks_scope);
            return if lacks { Ok(None) } else { self.own_token(scope).await };
        }
        let renewed = self.authorization(scope).await?;
        Ok(renewed.filter(|renewed| Some(renewed) != carried.as_ref()))
    }

    /// Passes on what is no refusal of the user.
    async fn allowed(&self, ask: &Ask<'_>, answer: Response) -> Result<Response, Stop> {
        let status = answer.status();
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(answer);
        }
        if !self.endpoint().owns(answer.url()) {
            return Err(refused(answer, "").await);
        }
        let why = match words(answer).await {
            words if words.is_empty() => format!("{status}"),
            words => format!("{status}, {words}"),
        };
        let who = self.who(ask.scope).await?;
        let host = self.endpoint().host();
        Err(Auth::refused(host, ask.scope, &who, &why).into())
    }

    /// Sends and follows redirects. The authorization stays with the registry's own origin.
    async fn send(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Stop> {
        let mut url = ask.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let sending = Sending::begin(&ask.body).await?;
            let client = if sending.is_stream() { self.uploads() } else { self.client() };
            let mut request = client.request(ask.method.clone(), url.clone());
            request = request.headers(ask.headers.clone());
            if let Some(value) = authorization.filter(|_| self.endpoint().owns(&url)) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let answer = sending.send(request, self.job(), &shown(&url)).await?;
            let target = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let asks = matches!(ask.method, Method::GET | Method::HEAD);
            if !answer.status().is_redirection() || !asks {
                return Ok(answer);
            }
            url = Self::follow(&url, target)?;
        }
        let why = format!("{} redirects more than {MAX_REDIRECTS} times", shown(&ask.url));
        Err(Stop::Fatal(BuildError::failed(why)))
    }

    /// Asks what the registry wants to see (distribution-spec v1.1, "Determining Support").
    pub(super) async fn ping(&self) -> Result<Challenge, Stop> {
        let url = self.endpoint().base();
        let sent = self.client().get(url.clone()).send();
        let answer = self.job().cancel().run(sent).await?;
        let answer = answer.map_err(|error| self.unreachable(error, &url))?;
        let challenge = match answer.status() {
            StatusCode::UNAUTHORIZED => challenge(&answer).ok_or_else(|| {
                let host = self.endpoint().host();
                let what =
                    format!("the registry {host} wants a login of a kind that is not known here");
                BuildError::failed(what).help("imgbake knows Basic and Bearer")
            })?,
            status if status.is_success() => Challenge::Open,
            StatusCode::NOT_FOUND => {
                let what = format!("there is no registry at {}: it answers 404", shown(&url));
                return Err(BuildError::new(BuildErrorKind::NotFound, what).into());
            }
            _ => return Err(refused(answer, &shown(&url)).await),
        };
        self.auth().learn(challenge.clone());
        Ok(challenge)
    }

    fn unreachable(&self, error: reqwest::Error, url: &Url) -> Stop {
        match broken(error, &shown(url)) {
            Stop::Fatal(fatal) if fatal.help_text().is_none() => {
                let host = self.endpoint().host();
                Stop::Fatal(fatal.help(format!(
                    "is {host} a registry, with a certificate that this machine knows? `--ca FILE` adds \
                     one, `--insecure-http` goes without"
                )))
            }
            other => other,
        }
    }
}

fn challenge(answer: &Response) -> Option<Challenge> {
    wanted(answer).find_map(Challenge::parse)
}

/// What a registry says that it wants to see.
fn wanted(answer: &Response) -> impl Iterator<Item = &str> {
    let headers = answer.headers().get_all(WWW_AUTHENTICATE);
    headers.iter().filter_map(|value| value.to_str().ok())
}

/// A connection that failed or was cut.
pub(super) fn broken(error: reqwest::Error, name: &str) -> Stop {
    let error = error.without_url();
    let fatal = error.is_builder();
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    let tls = ["certificate", "InvalidContentType", "corrupt message"];
    if fatal || tls.iter().any(|word| why.contains(word)) {
        return Stop::Fatal(BuildError::failed(format!("cannot connect to {name}: {why}")));
    }
    Stop::again(format!("{name}: {why}"))
}

/// A status that is no success: to be tried again, or for good.
pub(super) async fn refused(answer: Response, name: &str) -> Stop {
    let status = answer.status();
    let name = if name.is_empty() { shown(answer.url()) } else { name.to_owned() };
    let after = answer.headers().get(RETRY_AFTER);
    let after = after.and_then(|value| imgbake_runtime::retry::after(value.to_str().ok()?));
    let words = words(answer).await;
    let words = if words.is_empty() { words } else { format!(": {words}") };
    let why = format!("{name} answers {status}{words}");
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502..=504 => Stop::Again { why, after },
        404 | 410 => Stop::Fatal(BuildError::new(BuildErrorKind::NotFound, why)),
        _ => Stop::Fatal(BuildError::failed(why)),
    }
}

/// A whole body, of at most so many bytes.
pub(super) async fn small_body(
    job: &Job,
    mut answer: Response,
    most: usize,
) -> Result<Bytes, Stop> {
    let name = shown(answer.url());
    let mut body = Vec::new();
    loop {
        let chunk = job.cancel().run(answer.chunk()).await?;
        let Some(chunk) = chunk.map_err(|error| broken(error, &name))? else {
            return Ok(body.into());
        };
        if body.len() + chunk.len() > most {
            let why = format!("{name} answers with more than {} KiB", most >> 10);
            return Err(Stop::Fatal(BuildError::failed(why)));
        }
        body.extend_from_slice(&chunk);
    }
}

//! What a URL's file is right now, without its bytes.

use std::time::Duration;

use imgbake_build::{BuildError, Pin, PinMemory};
use imgbake_runtime::Job;
use imgbake_types::Digest;
use imgbake_types::plan::{Checksum, UrlSource as Spec};
use reqwest::Response;
use reqwest::header::CONTENT_LENGTH;
use secrecy::ExposeSecret;

use crate::http::Http;
use crate::location::Location;
use crate::partial::Validators;
use crate::retry::Patience;
use crate::sums;

/// How long a question may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) patience: Patience,
    /// All attempts together.
    pub(crate) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { patience: Patience::short(), time: Duration::from_secs(20) }
    }
}

/// Asks whoever decides which bytes the source has.
pub(crate) async fn pin(job: &Job, spec: &Spec, limits: Limits) -> Result<Pin, BuildError> {
    let location = Location::parse(job.secrets().reveal(&spec.location).expose_secret())?;
    let url = match &location {
        Location::Http(url) => Some(url),
        Location::File(_) => None,
    };
    let http = Http::new((job, None), &spec.headers, url, limits.patience)?;
    let (asked, whom) = match (&spec.checksum, url) {
        (Checksum::Digest { .. }, _) | (Checksum::Unverified, None) => return Ok(Pin::Fixed),
        (Checksum::Sums { location: sums }, _) => {
            let name = location.base_name();
            let digest = async { sums::ask(&http, sums, &name).await.map(|digest| now(&digest)) };
            (within(job, limits, digest).await, sums)
        }
        (Checksum::Unverified, Some(url)) => {
            let state = async { Ok(state(&http.head(url).await?)) };
            (within(job, limits, state).await, &spec.location)
        }
    };
    let asked = asked.map_err(|error| match error {
        Slow::Failed(error) => error,
        Slow::Late => {
            let whom = Location::parse(job.secrets().reveal(whom).expose_secret());
            let whom = whom.map_or_else(|_| "the server".to_owned(), |whom| whom.to_string());
            let (whom, seconds) = (job.secrets().redact(&whom), limits.time.as_secs_f64());
            BuildError::failed(format!("cannot ask {whom}: no answer within {seconds} seconds"))
        }
    });
    // Markers stand for the secrets: nothing of them is in the name.
    let checksum = if matches!(spec.checksum, Checksum::Unverified) { "" } else { whom };
    PinMemory::new(job.home(), &format!("url\n{}\n{checksum}", spec.location)).settle(job, asked)
}

/// Why there is no answer.
enum Slow {
    Failed(BuildError),
    Late,
}

async fn within(
    job: &Job,
    limits: Limits,
    asking: impl Future<Output = Result<Pin, BuildError>>,
) -> Result<Pin, Slow> {
    let answer = job.cancel().run(tokio::time::timeout(limits.time, asking)).await;
    match answer.map_err(|error| Slow::Failed(error.into()))? {
        Ok(answer) => answer.map_err(Slow::Failed),
        Err(_) => Err(Slow::Late),
    }
}

fn now(digest: &Digest) -> Pin {
    Pin::Now(digest.to_string())
}

/// What an answer to HEAD says of the file's state (RFC 9110, sections 8.8 and 9.3.2).
fn state(answer: &Response) -> Pin {
    if !answer.status().is_success() {
        let why = format!("the server answers {} to a HEAD request", answer.status());
        return Pin::Unknown(why);
    }
    let length = answer.headers().get(CONTENT_LENGTH);
    let total = length.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    match Validators::of(answer.headers(), total) {
        Validators { etag: Some(etag), .. } => now(&Digest::sha256(format!("etag {etag}"))),
        Validators { last_modified: Some(time), total: Some(total), .. } => {
            now(&Digest::sha256(format!("modified {time} length {total}")))
        }
        _ => Pin::Unknown(
            "the server says neither an ETag nor both Last-Modified and Content-Length".to_owned(),
        ),
    }
}

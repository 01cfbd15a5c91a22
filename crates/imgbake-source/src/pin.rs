//! What a URL's file is right now, without its bytes.

use std::time::Duration;

use imgbake_build::{BuildError, Pin, PinMemory};
use imgbake_http::header::CONTENT_LENGTH;
use imgbake_http::{Response, RetryPolicy};
use imgbake_runtime::Job;
use imgbake_types::Digest;
use imgbake_types::plan::{Checksum, UrlSource as Spec};
use secrecy::ExposeSecret;

use crate::client::SourceClient;
use crate::error::SourceError;
use crate::location::Location;
use crate::partial::Validators;
use crate::sums;

/// How long a question may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) retries: RetryPolicy,
    /// All attempts together.
    pub(crate) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { retries: RetryPolicy::brief(), time: Duration::from_secs(20) }
    }
}

/// Asks whoever decides which bytes the source has.
pub(crate) async fn pin(job: &Job, spec: &Spec, limits: Limits) -> Result<Pin, BuildError> {
    let location = Location::parse(job.secrets().reveal(&spec.location).expose_secret())?;
    let url = match &location {
        Location::Http(url) => Some(url),
        Location::File(_) => None,
    };
    let client = SourceClient::new((job, None), &spec.headers, url, limits.retries)?;
    let (answer, address) = match (&spec.checksum, url) {
        (Checksum::Digest { .. }, _) | (Checksum::Unverified, None) => return Ok(Pin::Fixed),
        (Checksum::Sums { location: sums }, _) => {
            let name = location.base_name();
            let digest =
                async { sums::digest_of(&client, sums, &name).await.map(|digest| now(&digest)) };
            (within(job, limits, sums, digest).await, sums)
        }
        (Checksum::Unverified, Some(url)) => {
            let state = async { Ok(state(&client.head(url).await?)) };
            (within(job, limits, &spec.location, state).await, &spec.location)
        }
    };
    // Markers stand for the secrets: nothing of them is in the name.
    let checksum = if matches!(spec.checksum, Checksum::Unverified) { "" } else { address };
    let memory = PinMemory::new(job.home(), &format!("url\n{}\n{checksum}", spec.location));
    memory.settle(job, answer.map_err(BuildError::from))
}

/// What is asked of `address`, within the limit.
pub(crate) async fn within(
    job: &Job,
    limits: Limits,
    address: &str,
    asking: impl Future<Output = Result<Pin, SourceError>>,
) -> Result<Pin, SourceError> {
    let answer = job.cancel().run(tokio::time::timeout(limits.time, asking)).await?;
    answer.unwrap_or_else(|_| {
        let address = Location::parse(job.secrets().reveal(address).expose_secret());
        let address = address.map_or_else(|_| "the server".to_owned(), |shown| shown.to_string());
        let address = job.secrets().redact(&address);
        Err(SourceError::NoAnswer { address, limit: limits.time })
    })
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
            "the server sends neither an ETag nor both Last-Modified and Content-Length".to_owned(),
        ),
    }
}

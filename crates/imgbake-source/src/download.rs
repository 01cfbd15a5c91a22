//! Getting all bytes of a URL, however often the way is cut.

use imgbake_build::BuildError;
use imgbake_runtime::space;
use imgbake_types::Size;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::http::{Http, broken};
use crate::partial::{Partial, Validators};
use crate::retry::Stop;

/// Downloads until all bytes are there. `proved` says that a digest is known: then bytes without any
/// validator may be gone on with, since a mixture would show.
pub(crate) async fn download(
    http: &Http<'_>,
    url: &Url,
    partial: &mut Partial,
    proved: bool,
) -> Result<(), BuildError> {
    let mut retry = http.retry(url);
    loop {
        let before = partial.have;
        let end = attempt(http, url, partial, proved).await;
        partial.flush().await?;
        match end {
            Ok(()) => return Ok(()),
            Err(Stop::Again { why, after, .. }) => {
                retry.after(Stop::Again { why, after, moved: partial.have > before }).await?;
            }
            Err(fatal) => return retry.after(fatal).await,
        }
    }
}

async fn attempt(
    http: &Http<'_>,
    url: &Url,
    partial: &mut Partial,
    proved: bool,
) -> Result<(), Stop> {
    if partial.have > 0 && !proved && partial.about.if_range().is_none() {
        partial.begin(Validators::default()).await?;
    }
    if partial.have > 0 && partial.about.total == Some(partial.have) {
        return Ok(()); // the last run had it all
    }
    let answer = http.get(url, &request(partial)).await?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => goes_on(&answer, partial).await?,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            partial.begin(Validators::default()).await?;
            return Err(Stop::again("the server's file is shorter than what was downloaded"));
        }
        _ => {
            // All of it: the first time, or because the server's file changed or it knows no ranges.
            let about = Validators::of(answer.headers(), answer.content_length());
            partial.begin(about).await?;
        }
    }
    receive(http, url, answer, partial).await
}

/// The headers that ask for the bytes that are missing (RFC 9110, sections 13.1.5 and 14.2).
fn request(partial: &Partial) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Bytes as they are stored: the checksum is of those.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if partial.have > 0
        && let Ok(range) = HeaderValue::try_from(format!("bytes={}-", partial.have))
    {
        headers.insert(RANGE, range);
        if let Some(Ok(same)) = partial.about.if_range().map(HeaderValue::try_from) {
            headers.insert(IF_RANGE, same);
        }
    }
    headers
}

/// Proves that a 206 goes on exactly where the bytes end, and is of the same file.
async fn goes_on(answer: &Response, partial: &mut Partial) -> Result<(), Stop> {
    let range =
        answer.headers().get(CONTENT_RANGE).and_then(|value| content_range(value.to_str().ok()?));
    let (first, total) = range.unwrap_or((u64::MAX, None));
    let now = Validators::of(answer.headers(), total);
    if first == partial.have && partial.about.fits(&now) {
        return Ok(());
    }
    partial.begin(Validators::default()).await?;
    Err(Stop::again("the server went on with other bytes"))
}

/// `bytes FIRST-LAST/TOTAL`, where the total may be `*` (RFC 9110, section 14.4).
pub(crate) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}

async fn receive(
    http: &Http<'_>,
    url: &Url,
    mut answer: Response,
    partial: &mut Partial,
) -> Result<(), Stop> {
    let total = partial.about.total;
    if let Some(total) = total {
        space::require(partial.path(), total.saturating_sub(partial.have))?;
    }
    if let Some(stage) = http.stage {
        stage.status("downloading");
    }
    loop {
        let chunk = http
            .job
            .cancel()
            .run(answer.chunk())
            .await?
            .map_err(|error| broken(error, &http.shown(url)))?;
        let Some(chunk) = chunk else { break };
        partial.write(&chunk).await?;
        if let Some(stage) = http.stage {
            stage.progress(partial.have, total);
        }
    }
    match total {
        Some(total) if partial.have < total => {
            let (have, total) = (Size::bytes(partial.have).human(), Size::bytes(total).human());
            Err(Stop::again(format!("the server stopped after {have} of {total}")))
        }
        Some(total) if partial.have > total => {
            partial.begin(Validators::default()).await?;
            Err(Stop::again("the server sent more than it said"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("bytes 5-9", None),
            ("items 5-9/10", None),
            ("bytes 5-9/x", None),
            ("bytes -1-9/10", None),
            ("bytes 99999999999999999999-1/2", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}

//! Getting all bytes of a URL, however often the way is cut.

use imgbake_http::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE,
};
use imgbake_http::{Response, StatusCode, Url};
use imgbake_runtime::space;
use imgbake_types::Size;

use crate::client::SourceClient;
use crate::error::SourceError;
use crate::partial::{Partial, Validators};

/// Downloads until all bytes are there. `proved` says that a digest is known: then bytes without any
/// validator may be resumed from, since a mixture would show.
pub(crate) async fn download(
    client: &SourceClient<'_>,
    url: &Url,
    partial: &mut Partial,
    proved: bool,
) -> Result<(), SourceError> {
    let mut retry = client.retry(url);
    loop {
        let before = partial.have;
        let end = attempt(client, url, partial, proved).await;
        partial.flush().await?;
        let Err(error) = end else { return Ok(()) };
        if partial.have > before {
            retry.progressed();
        }
        retry.after(error).await?;
    }
}

async fn attempt(
    client: &SourceClient<'_>,
    url: &Url,
    partial: &mut Partial,
    proved: bool,
) -> Result<(), SourceError> {
    if partial.have > 0 && !proved && partial.about.if_range().is_none() {
        partial.begin(Validators::default()).await?;
    }
    if partial.have > 0 && partial.about.total == Some(partial.have) {
        return Ok(()); // the last run had it all
    }
    let answer = client.get(url, request(partial)).await?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => check_resumed(&answer, partial).await?,
        StatusCode::RANGE_NOT_SATISFIABLE => {
            partial.begin(Validators::default()).await?;
            return Err(SourceError::transient(
                "the server's file is shorter than what was downloaded",
            ));
        }
        _ => {
            // All of it: the first time, or because the server's file changed or it knows no ranges.
            let about = Validators::of(answer.headers(), answer.content_length());
            partial.begin(about).await?;
        }
    }
    receive(client, answer, partial).await
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

/// Proves that a 206 resumes exactly where the bytes end, and is of the same file.
async fn check_resumed(answer: &Response, partial: &mut Partial) -> Result<(), SourceError> {
    let range =
        answer.headers().get(CONTENT_RANGE).and_then(|value| content_range(value.to_str().ok()?));
    let (first, total) = range.unwrap_or((u64::MAX, None));
    let now = Validators::of(answer.headers(), total);
    if first == partial.have && partial.about.fits(&now) {
        return Ok(());
    }
    partial.begin(Validators::default()).await?;
    Err(SourceError::transient("the server resumed with other bytes"))
}

/// `bytes FIRST-LAST/TOTAL`, where the total may be `*` (RFC 9110, section 14.4).
pub(crate) fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, total))
}

async fn receive(
    client: &SourceClient<'_>,
    mut answer: Response,
    partial: &mut Partial,
) -> Result<(), SourceError> {
    let total = partial.about.total;
    if let Some(total) = total {
        space::require(partial.path(), total.saturating_sub(partial.have))?;
    }
    if let Some(stage) = client.stage {
        stage.status("downloading");
    }
    while let Some(chunk) = answer.chunk().await? {
        partial.write(&chunk).await?;
        if let Some(stage) = client.stage {
            stage.progress(partial.have, total);
        }
    }
    match total {
        Some(total) if partial.have < total => {
            let (have, total) = (Size::bytes(partial.have).human(), Size::bytes(total).human());
            Err(SourceError::transient(format!("the server stopped after {have} of {total}")))
        }
        Some(total) if partial.have > total => {
            partial.begin(Validators::default()).await?;
            Err(SourceError::transient("the server sent more than it announced"))
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

//! Blobs in: mounted where the registry has them under another name, else sent whole, else in pieces
//! (distribution-spec v1.1, "Push").

use imgbake_http::header::{
    CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use imgbake_http::{Body, BodySource, Method, Request, Response, StatusCode, Url};
use imgbake_types::Digest;

use crate::auth::Scope;
use crate::remote::Repository;
use crate::request::status_error;
use crate::{OciError, OciErrorKind, Result};

/// A piece of a blob, in bytes.
const PIECE: u64 = 16 << 20;
/// A piece is not made smaller than this.
const SMALLEST_PIECE: u64 = 64 << 10;
/// A cut upload of so many bytes goes on where it was cut; a shorter one begins again.
const WORTH_RESUMING: u64 = 8 << 20;
/// The smallest piece that the registry takes, in bytes.
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    There,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
}

/// An upload that is going on.
struct Upload<'a> {
    digest: &'a Digest,
    size: u64,
    source: &'a dyn BodySource,
    scope: Scope,
    /// Where pieces are sent; none: the blob is sent whole.
    piece: Option<u64>,
    /// Where in the blob a piece was refused last.
    refused_at: Option<u64>,
    /// Whether the registry takes no pieces at all.
    no_pieces: bool,
    session: Option<Session>,
}

/// An upload as the registry knows it.
struct Session {
    url: Url,
    /// Bytes that are there.
    at: u64,
    /// Whether the registry must be asked how far it is.
    cut: bool,
    /// Whether it ever was cut.
    resumed: bool,
}

impl Repository {
    /// Brings a blob into the repository. `from` is another of the same registry that may have it.
    pub async fn push_blob(
        &self,
        (digest, size): (&Digest, u64),
        source: &dyn BodySource,
        from: Option<&Self>,
    ) -> Result<Pushed> {
        if self.has_blob(digest).await? {
            return Ok(Pushed::There);
        }
        if let Some(from) = from
            && self.mount(digest, from).await?
        {
            return Ok(Pushed::Mounted);
        }
        let scope = self.push();
        let mut upload = Upload {
            digest,
            size,
            source,
            scope,
            piece: None,
            refused_at: None,
            no_pieces: false,
            session: None,
        };
        let mut retry = self.retry(format!("send the blob {digest} to {}", self.label()));
        loop {
            let before = upload.at();
            let error = match self.send(&mut upload).await {
                Ok(()) => return Ok(Pushed::Sent),
                Err(error) => error,
            };
            if upload.at() > before {
                retry.progressed();
            }
            retry.after(error).await?;
        }
    }

    /// Asks the registry to take a blob from another repository; a registry that will not is asked to
    /// forget the upload that it began instead.
    async fn mount(&self, digest: &Digest, from: &Self) -> Result<bool> {
        let scope = Scope::mount(&self.path, &from.path);
        let mut retry = self.retry(format!("mount the blob {digest} in {}", self.label()));
        loop {
            match self.mount_once(digest, &from.path, &scope).await {
                Ok(mounted) => return Ok(mounted),
                // One that lets nobody mount may still take the blob itself.
                Err(error) if !error.is_transient() && error.kind() != OciErrorKind::Cancelled => {
                    tracing::debug!(%error, "a blob was not mounted");
                    return Ok(false);
                }
                Err(error) => retry.after(error).await?,
            }
        }
    }

    async fn mount_once(&self, digest: &Digest, from: &str, scope: &Scope) -> Result<bool> {
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let answer = self.remote.send(Request::new(Method::POST, url), scope).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            status if status.is_success() => {
                if let Ok(session) = answer.location() {
                    let cancel = Request::new(Method::DELETE, session);
                    let _ = self.remote.send(cancel, scope).await; // it ends by itself, later
                }
                Ok(false)
            }
            _ => Err(status_error(answer, &self.label()).await),
        }
    }

    /// One attempt, which leaves in `upload` what the next goes on with.
    async fn send(&self, upload: &mut Upload<'_>) -> Result<()> {
        let Some(piece) = upload.piece else { return self.send_whole(upload).await };
        if upload.session.is_none() {
            upload.session = Some(self.begin(upload).await?);
        }
        let done = self.send_pieces(upload, piece).await;
        if let (Err(_), Some(session)) = (&done, &mut upload.session) {
            session.cut = true;
        }
        done
    }

    async fn send_whole(&self, upload: &mut Upload<'_>) -> Result<()> {
        let session = self.begin(upload).await?;
        let body = Body::Piece { source: upload.source, from: 0, len: upload.size };
        let sent = self.finish(upload, session.url, body).await;
        let large = upload.size >= WORTH_RESUMING;
        match sent {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) if answer.status() == StatusCode::PAYLOAD_TOO_LARGE && !upload.no_pieces => {
                upload.piece = Some(PIECE.min(upload.size.div_ceil(2)).max(SMALLEST_PIECE));
                Err(OciError::transient("the registry takes no blob of this size in one piece"))
            }
            other => {
                let error = match other {
                    Ok(answer) => again_if_lost(answer, &self.label()).await,
                    Err(error) => error,
                };
                let pieces = large && error.is_transient() && !upload.no_pieces;
                upload.piece = pieces.then_some(PIECE);
                Err(error)
            }
        }
    }

    /// Begins an upload.
    async fn begin(&self, upload: &mut Upload<'_>) -> Result<Session> {
        let request = Request::new(Method::POST, self.url("blobs/uploads/"));
        let answer = self.remote.send(request, &upload.scope).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(status_error(answer, &self.label()).await);
        }
        let least = answer.headers().get(MIN_LENGTH);
        let least = least.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        if let (Some(piece), Some(least)) = (&mut upload.piece, least) {
            *piece = (*piece).max(least.min(1 << 30));
        }
        Ok(Session { url: answer.location()?, at: 0, cut: false, resumed: false })
    }

    async fn send_pieces(&self, upload: &mut Upload<'_>, piece: u64) -> Result<()> {
        let (size, source, scope) = (upload.size, upload.source, upload.scope.clone());
        let Some(session) = upload.session.as_mut().filter(|session| !session.cut) else {
            return self.resume(upload).await;
        };
        if session.at < size {
            let len = piece.min(size - session.at);
            let body = Body::Piece { source, from: session.at, len };
            let mut request = Request::new(Method::PATCH, session.url.clone()).body(body);
            let range = format!("{}-{}", session.at, session.at + len - 1);
            request
                .headers
                .extend(HeaderValue::try_from(range).map(|range| (CONTENT_RANGE, range)));
            request
                .headers
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            let answer = self.remote.send(request, &scope).await?;
            match answer.status() {
                status if status.is_success() => {}
                // It may stand elsewhere in the blob: it is asked where, once.
                StatusCode::RANGE_NOT_SATISFIABLE if upload.refused_at != Some(session.at) => {
                    upload.refused_at = Some(session.at);
                    return Err(OciError::transient("the registry stands elsewhere in the blob"));
                }
                status if refuses_piece(status) => return Err(upload.smaller(piece)),
                _ => return Err(again_if_lost(answer, &self.label()).await),
            }
            session.url = answer.location()?;
            session.at =
                reached(answer.headers()).unwrap_or(session.at + len).min(session.at + len);
            return Box::pin(self.send_pieces(upload, piece)).await;
        }
        let (url, resumed) = (session.url.clone(), session.resumed);
        let answer = self.finish(upload, url, Body::Empty).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST if resumed => {
                // A registry that lost count of pieces finds out only now: from the start.
                upload.session = None;
                Err(OciError::transient("the registry put the pieces together wrongly"))
            }
            _ => Err(again_if_lost(answer, &self.label()).await),
        }
    }

    /// Asks how far a cut upload is, and goes on (distribution-spec v1.1, "Pushing a blob in chunks").
    async fn resume(&self, upload: &mut Upload<'_>) -> Result<()> {
        let piece = upload.piece.unwrap_or(PIECE);
        let Some(session) = &mut upload.session else {
            return Err(OciError::transient("the registry has no such upload"));
        };
        let answer = self.remote.send(Request::get(session.url.clone()), &upload.scope).await?;
        if !answer.status().is_success() {
            upload.session = None;
            return Err(again_if_lost(answer, &self.label()).await);
        }
        let at = reached(answer.headers()).unwrap_or(0).min(upload.size);
        let url = answer.location().unwrap_or_else(|_| session.url.clone());
        *session = Session { url, at, cut: false, resumed: true };
        Box::pin(self.send_pieces(upload, piece)).await
    }

    /// Ends an upload with a digest.
    async fn finish(&self, upload: &Upload<'_>, mut url: Url, body: Body<'_>) -> Result<Response> {
        url.query_pairs_mut().append_pair("digest", &upload.digest.to_string());
        let mut request = Request::new(Method::PUT, url).body(body);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.remote.send(request, &upload.scope).await
    }
}

/// Whether a registry does not want a piece as it is, in whatever way it says so.
fn refuses_piece(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::LENGTH_REQUIRED
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::NOT_IMPLEMENTED
    )
}

impl Upload<'_> {
    /// Goes on with smaller pieces after one was refused; where there are none, with the blob as a whole.
    fn smaller(&mut self, piece: u64) -> OciError {
        self.session = None;
        if piece > SMALLEST_PIECE {
            self.piece = Some((piece / 4).max(SMALLEST_PIECE));
        } else {
            self.piece = None;
            self.no_pieces = true;
        }
        OciError::transient("the registry takes no piece of this size")
    }

    fn at(&self) -> u64 {
        self.session.as_ref().map_or(0, |session| session.at)
    }
}

/// Bytes that a registry says it has: `Range: 0-LAST`.
pub(crate) fn reached(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let last: u64 = range.trim_start_matches("bytes=").split_once('-')?.1.trim().parse().ok()?;
    // Nothing and one byte are written alike, and a registry asks for no second upload of one byte.
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

/// An upload that the registry forgot begins again.
async fn again_if_lost(answer: Response, name: &str) -> OciError {
    let lost = answer.status() == StatusCode::NOT_FOUND;
    match status_error(answer, name).await {
        error if lost => OciError::transient(error.to_string()),
        error => error,
    }
}

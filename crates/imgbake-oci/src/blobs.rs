//! A blob's bytes, however often the way is cut.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use imgbake_http::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use imgbake_http::{Method, Request, Response, Retry, StatusCode};
use imgbake_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::auth::Scope;
use crate::remote::Repository;
use crate::request::status_error;
use crate::{OciError, OciErrorKind};

/// A blob's bytes, in order.
pub type BlobStream = BoxStream<'static, Result<Bytes>>;

impl Repository {
    /// Whether a blob is there; its size is not looked at, since some registries do not report it.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let url = self.url(&format!("blobs/{digest}"));
        let mut retry = self.retry(format!("ask {} for the blob {digest}", self.label()));
        loop {
            match self.is_there(Request::new(Method::HEAD, url.clone())).await {
                Ok(there) => return Ok(there),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    pub(crate) async fn is_there(&self, request: Request<'_>) -> Result<bool> {
        let answer = self.remote.send(request, &self.pull()).await?;
        match answer.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(status_error(answer, &self.label()).await),
        }
    }

    /// A piece of a blob whose size is known; the digest is proved where the piece is all of it. No
    /// more than one network buffer is in memory at a time.
    ///
    /// # Errors
    /// The stream gives them: no such blob, other bytes than the digest's, a registry that does not
    /// answer for about half a minute.
    pub fn blob(&self, digest: &Digest, size: u64, range: Range<u64>) -> BlobStream {
        let reader = Reader {
            retry: self.retry(format!("read the blob {digest} of {}", self.label())),
            scope: self.pull(),
            repository: self.clone(),
            digest: digest.clone(),
            size,
            hasher: (range == (0..size)).then(Sha256::new),
            at: range.start,
            end: range.end,
            answer: None,
        };
        futures::stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|bytes| (bytes, reader)))
        })
        .boxed()
    }

    /// A piece of a blob in memory: for pieces of a few MiB. See [`Repository::blob`].
    ///
    /// # Errors
    /// Those of [`Repository::blob`].
    pub async fn piece(&self, digest: &Digest, size: u64, range: Range<u64>) -> Result<Vec<u8>> {
        let mut piece = Vec::new();
        let mut stream = self.blob(digest, size, range);
        while let Some(bytes) = stream.next().await {
            piece.extend_from_slice(&bytes?);
        }
        Ok(piece)
    }
}

/// A blob that is being read.
struct Reader {
    repository: Repository,
    scope: Scope,
    digest: Digest,
    size: u64,
    /// Where the next byte stands, and where the piece ends.
    at: u64,
    end: u64,
    answer: Option<Incoming>,
    /// Where the piece is the whole blob.
    hasher: Option<Sha256>,
    retry: Retry<'static>,
}

/// An answer, and how many of its bytes were not asked for.
struct Incoming {
    answer: Response,
    skip: u64,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.digest.algorithm() != Algorithm::Sha256 || self.end > self.size {
            let what = format!("cannot read {} of {}", self.digest, self.repository.label());
            return Err(OciError::failed(what).help("blobs are read by their sha256 digests"));
        }
        while self.at < self.end {
            match self.receive().await {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    self.retry.progressed();
                    self.at += bytes.len() as u64;
                    self.prove(&bytes)?;
                    return Ok(Some(bytes));
                }
                Err(error) => {
                    self.answer = None;
                    self.retry.after(error).await?;
                }
            }
        }
        self.answer = None;
        if self.size == 0 && self.digest != Digest::sha256("") {
            return Err(self.lie("there are none"));
        }
        Ok(None)
    }

    /// Hashes what came; the last bytes are given only if all are the digest's.
    fn prove(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(hasher) = &mut self.hasher else { return Ok(()) };
        hasher.update(bytes);
        let ended = self.at == self.end;
        let got = ended.then(|| Digest::from_sha256(&hasher.clone().finalize()));
        match got.filter(|got| *got != self.digest) {
            Some(got) => Err(self.lie(&format!("their digest is {got}"))),
            None => Ok(()),
        }
    }

    async fn receive(&mut self) -> Result<Bytes> {
        if self.answer.is_none() {
            self.answer = Some(self.begin().await?);
        }
        let Some(incoming) = &mut self.answer else { return Ok(Bytes::new()) };
        let name = self.repository.label();
        let Some(mut bytes) = incoming.answer.chunk().await? else {
            return Err(OciError::transient(format!(
                "{name} sent only {} of {} bytes",
                self.at, self.end
            )));
        };
        let skipped = usize::try_from(incoming.skip).unwrap_or(usize::MAX).min(bytes.len());
        incoming.skip -= skipped as u64;
        let mut bytes = bytes.split_off(skipped);
        let left = self.end - self.at;
        if bytes.len() as u64 > left {
            if self.end == self.size {
                return Err(self.lie(&format!("there are more than {}", self.size)));
            }
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        Ok(bytes)
    }

    /// Asks for what is left.
    async fn begin(&self) -> Result<Incoming> {
        let url = self.repository.url(&format!("blobs/{}", self.digest));
        let mut request = Request::get(url);
        // Bytes as they are stored: the digest is of those.
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let whole = self.at == 0 && self.end == self.size;
        if !whole {
            let range = format!("bytes={}-{}", self.at, self.end - 1);
            request.headers.extend(HeaderValue::try_from(range).map(|range| (RANGE, range)));
        }
        let answer = self.repository.remote.send(request, &self.scope).await?;
        let status = answer.status();
        match status {
            StatusCode::PARTIAL_CONTENT => {
                let first = answer
                    .headers()
                    .get(CONTENT_RANGE)
                    .and_then(|range| first(range.to_str().ok()?));
                if first == Some(self.at) {
                    return Ok(Incoming { answer, skip: 0 });
                }
                Err(OciError::transient("the registry answered with another piece of the blob"))
            }
            status if status.is_success() => {
                let length = answer.content_length();
                if length.is_some_and(|length| length != self.size) {
                    return Err(self.lie(&format!(
                        "there are {}, not {}",
                        length.unwrap_or(0),
                        self.size
                    )));
                }
                if !whole {
                    self.repository.set_ignores_ranges();
                }
                Ok(Incoming { answer, skip: self.at })
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Err(self.lie(&format!("there are less than {}", self.size)))
            }
            StatusCode::NOT_FOUND => {
                let what = format!("{} has no blob {}", self.repository.label(), self.digest);
                Err(OciError::new(OciErrorKind::NotFound, what))
            }
            _ => Err(status_error(answer, &self.repository.label()).await),
        }
    }

    fn lie(&self, why: &str) -> OciError {
        let (name, digest) = (self.repository.label(), &self.digest);
        OciError::failed(format!("{name} gives wrong bytes for the blob {digest}: {why}")).help(
            "the registry, or something before it, is damaged or hostile: nothing of it was used",
        )
    }
}

/// The first offset of `bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4).
pub(crate) fn first(text: &str) -> Option<u64> {
    text.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

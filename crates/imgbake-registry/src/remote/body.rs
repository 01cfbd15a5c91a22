//! What a request carries: nothing, some bytes, or a piece of a blob that is read as it is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use imgbake_build::BuildError;
use imgbake_runtime::Job;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{RequestBuilder, Response};
use tokio::sync::Notify;

use super::http::broken;
use super::retry::Stop;
use crate::Result;

/// How long a server may take nothing, or think about a blob that it has whole.
const THINKING: Duration = Duration::from_secs(300);

/// A blob's bytes, in order.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Something whose bytes can be read more than once.
#[async_trait]
pub(crate) trait BlobSource: std::fmt::Debug + Send + Sync {
    /// The bytes from an offset to the end.
    async fn open(&self, from: u64) -> Result<ByteStream>;
}

/// A request's body.
#[derive(Debug)]
pub(super) enum Body<'a> {
    Nothing,
    Bytes(Bytes),
    /// `len` bytes of a blob from `from` on.
    Piece {
        source: &'a dyn BlobSource,
        from: u64,
        len: u64,
    },
}

/// A body that is being sent.
pub(super) enum Sending {
    Nothing,
    Bytes(Bytes),
    Stream { stream: ByteStream, len: u64, watch: Watch },
}

/// What became of a body while it was sent.
#[derive(Default)]
pub(super) struct Watch {
    moved: Arc<Notify>,
    failed: Arc<Mutex<Option<BuildError>>>,
}

impl Sending {
    pub(super) async fn begin(body: &Body<'_>) -> Result<Self> {
        Ok(match body {
            Body::Nothing => Self::Nothing,
            Body::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Body::Piece { source, from, len } => {
                let watch = Watch::default();
                let stream = watch.over(source.open(*from).await?, *len);
                Self::Stream { stream, len: *len, watch }
            }
        })
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }

    pub(super) async fn send(
        self,
        request: RequestBuilder,
        job: &Job,
        name: &str,
    ) -> Result<Response, Stop> {
        let (request, watch) = match self {
            Self::Nothing => (request, None),
            Self::Bytes(bytes) => (request.body(bytes), None),
            Self::Stream { stream, len, watch } => {
                let request = request.header(CONTENT_LENGTH, len);
                (request.body(reqwest::Body::wrap_stream(stream)), Some(watch))
            }
        };
        let Some(watch) = watch else {
            let sent = job.cancel().run(request.send()).await?;
            return sent.map_err(|error| broken(error, name));
        };
        let sent = job.cancel().run(async {
            tokio::select! {
                sent = request.send() => Some(sent),
                () = watch.stalled() => None,
            }
        });
        match sent.await? {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(match watch.failure() {
                Some(failed) => Stop::Fatal(failed),
                None => broken(error, name),
            }),
            None => {
                let seconds = THINKING.as_secs();
                Err(Stop::again(format!("{name} took nothing more for {seconds} seconds")))
            }
        }
    }
}

impl Watch {
    /// The same bytes, exactly `len` of them; each is noticed.
    fn over(&self, source: ByteStream, len: u64) -> ByteStream {
        let (moved, failed) = (Arc::clone(&self.moved), Arc::clone(&self.failed));
        let fail = move |error: BuildError| {
            let words = error.to_string();
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            BuildError::failed(words)
        };
        let state = (source, len, fail);
        futures::stream::try_unfold(state, move |(mut source, left, fail)| {
            moved.notify_one();
            async move {
                if left == 0 {
                    return Ok(None);
                }
                match source.next().await {
                    Some(Ok(mut bytes)) => {
                        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                        let left = left - bytes.len() as u64;
                        Ok(Some((bytes, (source, left, fail))))
                    }
                    Some(Err(error)) => Err(fail(error)),
                    None => {
                        Err(fail(BuildError::failed(format!("{left} bytes of a blob are missing"))))
                    }
                }
            }
        })
        .boxed()
    }

    /// Ends when nothing has moved for a long time.
    async fn stalled(&self) {
        while tokio::time::timeout(THINKING, self.moved.notified()).await.is_ok() {}
    }

    fn failure(&self) -> Option<BuildError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

//! A body that is read as it is sent, and watched meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Notify;

use crate::Result;
use crate::error::{BoxError, HttpError, HttpErrorKind};

/// How long a server may take nothing, or think about a body that it has whole.
pub(crate) const STALLED: Duration = Duration::from_secs(300);

/// The bytes of what is sent, in order; their errors are the source's own.
pub type SourceStream = BoxStream<'static, Result<Bytes, BoxError>>;

/// Something whose bytes can be read more than once.
#[async_trait]
pub trait BodySource: std::fmt::Debug + Send + Sync {
    /// The bytes from an offset to the end.
    async fn open(&self, from: u64) -> Result<SourceStream, BoxError>;
}

/// What became of a body while it was sent.
#[derive(Default)]
pub(crate) struct Watch {
    moved: Arc<Notify>,
    failed: Arc<Mutex<Option<BoxError>>>,
}

impl Watch {
    /// A source's bytes from an offset on, exactly `len` of them; each is noticed.
    pub(crate) async fn open(
        &self,
        source: &dyn BodySource,
        from: u64,
        len: u64,
    ) -> Result<SourceStream> {
        let stream = source.open(from).await.map_err(unreadable)?;
        Ok(self.over(stream, len))
    }

    fn over(&self, source: SourceStream, len: u64) -> SourceStream {
        let (moved, failed) = (Arc::clone(&self.moved), Arc::clone(&self.failed));
        let fail = move |error: BoxError| {
            let message = error.to_string();
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            BoxError::from(message)
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
                    None => Err(fail(format!("{left} bytes of a body are missing").into())),
                }
            }
        })
        .boxed()
    }

    /// Ends when nothing has moved for a long time.
    pub(crate) async fn stalled(&self) {
        while tokio::time::timeout(STALLED, self.moved.notified()).await.is_ok() {}
    }

    /// The source's error, where there was one.
    pub(crate) fn failure(&self) -> Option<HttpError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map(unreadable)
    }
}

/// The error for bytes that could not be read: what reads them says why.
fn unreadable(error: BoxError) -> HttpError {
    HttpError::new(HttpErrorKind::Source, error.to_string()).because(error)
}

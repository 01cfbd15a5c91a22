//! Cancellation: one token that every wait of a job listens to.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::RuntimeError;

/// A job's cancellation. Clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct Cancel(CancellationToken);

impl Cancel {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that ends with this one, and may end before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Ends all that listens.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is cancelled.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }

    /// An error if it was cancelled: for loops that do not wait.
    pub fn check(&self) -> Result<(), RuntimeError> {
        if self.is_cancelled() { Err(RuntimeError::cancelled()) } else { Ok(()) }
    }

    /// Runs a future until it ends or the job is cancelled.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, RuntimeError> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => Err(RuntimeError::cancelled()),
            done = work => Ok(done),
        }
    }
}

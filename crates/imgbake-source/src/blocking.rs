//! Long synchronous work beside the async world: it reports its progress and sees a cancellation.

use imgbake_runtime::{Cancel, StageGuard};
use tokio::sync::watch;

use crate::error::SourceError;

/// Takes the work's progress.
#[derive(Debug)]
pub(crate) struct Meter {
    sender: watch::Sender<u64>,
    cancel: Cancel,
}

impl Meter {
    /// One that nobody reads and nobody stops.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn unwatched() -> Self {
        Self { sender: watch::channel(0).0, cancel: Cancel::new() }
    }

    /// Bytes so far; an error once the job is cancelled.
    pub(crate) fn at(&self, done: u64) -> Result<(), SourceError> {
        self.sender.send_replace(done);
        Ok(self.cancel.check()?)
    }
}

/// Runs `work` on a thread of its own and shows its progress.
pub(crate) async fn run<T: Send + 'static>(
    stage: &StageGuard,
    cancel: &Cancel,
    total: Option<u64>,
    work: impl FnOnce(&Meter) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let (sender, mut receiver) = watch::channel(0);
    let meter = Meter { sender, cancel: cancel.clone() };
    let running = tokio::task::spawn_blocking(move || work(&meter));
    // The meter goes with the work: then this ends.
    while receiver.changed().await.is_ok() {
        stage.progress(*receiver.borrow_and_update(), total);
    }
    running.await.map_err(SourceError::Stopped)?
}

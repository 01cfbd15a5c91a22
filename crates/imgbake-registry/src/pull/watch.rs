//! How the threads of a pull end together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::Cancel;

use crate::Result;
use crate::files::damaged;

/// One failed, or the user ended all: everybody sees it.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// Ends with the job's, or before it.
    cancel: Cancel,
    /// The same for what looks at no token.
    stop: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn new(job: &Cancel) -> Self {
        Self { cancel: job.child(), stop: Arc::default() }
    }

    /// Is set once the pull is over, and somebody saw it.
    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// An error once the pull is over.
    pub(super) fn go_on(&self) -> Result<()> {
        Ok(self.cancel.check()?)
    }

    /// What waits can wait for as well.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Ends all threads.
    pub(super) fn end(&self) {
        self.cancel.cancel();
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Gives the items, by their numbers, to some threads. Of their errors the one that is the reason
    /// for the others is reported.
    pub(super) fn share(
        &self,
        threads: usize,
        items: usize,
        work: impl Fn(&mut dyn FnMut() -> Option<usize>) -> Result<()> + Sync,
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let one = || {
            let mut take = || {
                let number = next.fetch_add(1, Ordering::Relaxed);
                (number < items && self.go_on().is_ok()).then_some(number)
            };
            work(&mut take).inspect_err(|_| self.end())
        };
        let results: Vec<Result<()>> = thread::scope(|scope| {
            let threads = threads.min(items);
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            let crashed = |_| Err(damaged("a thread of a pull ended before it was done"));
            running.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect()
        });
        self.first(results)
    }

    /// The error that is the reason for the others.
    pub(super) fn first(&self, results: Vec<Result<()>>) -> Result<()> {
        let mut errors: Vec<BuildError> = results.into_iter().filter_map(Result::err).collect();
        let reason = errors.iter().position(|error| error.kind() != BuildErrorKind::Cancelled);
        match reason.or((!errors.is_empty()).then_some(0)) {
            Some(at) => Err(errors.swap_remove(at)),
            None => self.go_on(),
        }
    }
}

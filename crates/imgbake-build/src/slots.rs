//! The right to run a machine: each that runs holds a slot, whichever build it belongs to.

use imgbake_runtime::Job;
use imgbake_types::EventKind;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::BuildError;

/// The machines that may run at once. A machine beside one of the same build may also take the reserve:
/// else builds that hold a machine each and need another would wait for each other for ever. So at most
/// one machine more than was asked for runs.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    reserve: Semaphore,
}

/// The right to run one machine, until it is dropped.
#[derive(Debug)]
pub struct Slot<'s> {
    _permit: Option<SemaphorePermit<'s>>,
}

impl Slots {
    /// Slots for so many machines at once.
    pub fn new(machines: usize) -> Self {
        Self { free: Semaphore::new(machines.max(1)), reserve: Semaphore::new(1) }
    }

    /// A slot, if one is free now.
    pub fn try_take(&self) -> Option<Slot<'_>> {
        self.free.try_acquire().ok().map(Slot::of)
    }

    /// A slot for a build's only machine; waits for one. Whoever holds a slot must not ask for another
    /// in this way.
    ///
    /// # Errors
    /// The job was cancelled.
    pub async fn take(&self, job: &Job) -> Result<Slot<'_>, BuildError> {
        if let Some(slot) = self.try_take() {
            return Ok(slot);
        }
        waits(job);
        let permit = job.cancel().run(self.free.acquire()).await?;
        Ok(Slot { _permit: permit.ok() })
    }

    /// A slot for a machine that runs beside one of the same build; waits for one.
    ///
    /// # Errors
    /// The job was cancelled.
    pub async fn take_beside<'s>(
        &'s self,
        job: &Job,
        _held: &Slot<'_>,
    ) -> Result<Slot<'s>, BuildError> {
        if let Some(slot) = self.try_take() {
            return Ok(slot);
        }
        if let Ok(permit) = self.reserve.try_acquire() {
            return Ok(Slot::of(permit));
        }
        waits(job);
        let permit = async {
            tokio::select! {
                permit = self.free.acquire() => permit,
                permit = self.reserve.acquire() => permit,
            }
        };
        let permit = job.cancel().run(permit).await?;
        Ok(Slot { _permit: permit.ok() })
    }
}

impl<'s> Slot<'s> {
    fn of(permit: SemaphorePermit<'s>) -> Self {
        Self { _permit: Some(permit) }
    }
}

fn waits(job: &Job) {
    let what = "its turn: other builds have the machines".to_owned();
    job.events().emit(EventKind::Waiting { what });
}

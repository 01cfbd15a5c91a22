//! Stored disks that are no versions': each into an empty file, all of it from one repository.

use std::fs::File;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;

use imgbake_oci::Repository;
use imgbake_runtime::{Job, StageGuard};
use tokio::runtime::Handle;

use super::fetch::Fetch;
use super::queue;
use super::sink::Sink;
use super::version::table;
use super::watch::Watch;
use crate::Result;
use crate::restore::{Output, Packed};
use crate::transfer::meter::Meter;

/// Takes disks one after the other, on a thread that may wait.
#[derive(Debug)]
pub(crate) struct Taking {
    repository: Repository,
    handle: Handle,
    meter: Meter,
    watch: Watch,
}

/// Ends the threads of a pull that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct EndOnDrop(Watch);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Taking {
    /// Prepares to take disks of `total` stored bytes. All of it ends when the guard is dropped.
    pub(crate) fn begin(
        job: &Job,
        repository: &Repository,
        stage: &Arc<StageGuard>,
        total: u64,
    ) -> (Self, EndOnDrop) {
        let watch = Watch::new(job.cancel());
        let taking = Self {
            repository: repository.clone(),
            handle: Handle::current(),
            meter: Meter::new(stage, total),
            watch: watch.clone(),
        };
        (taking, EndOnDrop(watch))
    }

    /// Writes a disk into an empty file; each chunk is proved before.
    pub(crate) fn disk(&self, packed: &Packed, into: &File) -> Result<()> {
        let table = self.wait(table(&self.repository, packed))?;
        let output = Output::over(into, &packed.label, &packed.disk, 0, self.watch.stop())?;
        // Nobody follows: there is no digest of the whole to be learnt.
        let (sender, _) = mpsc::channel();
        let sink = Sink::new(&table, &output, sender);
        let pieces = queue::ranges(&table, &sink.wanted());
        Fetch::new(&self.repository, &sink, &self.meter, &self.handle, &self.watch).all(pieces)
    }

    /// Bytes of packs that came so far.
    pub(crate) fn moved(&self) -> u64 {
        self.meter.moved()
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.handle.block_on(self.watch.cancel().run(work))?
    }
}

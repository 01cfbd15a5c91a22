//! A copy of the building machine, for as long as something is done there.

use std::sync::Arc;

use imgbake_comm::Communicator;

use super::second_run::Target;
use crate::stage::boot::Booted;
use crate::stage::context::Build;
use crate::{BuildError, BuildErrorKind, Disposable, DisposableRequest, Purpose, Slot, Snapshot};

/// A copy that answers. [`Copied::end`] it.
pub(super) struct Copied<'s> {
    copy: Disposable,
    comm: Arc<dyn Communicator>,
    /// The right to run it.
    _slot: Slot<'s>,
}

impl<'s> Copied<'s> {
    /// Makes a machine of a snapshot beside the build's own, or gives why none can be made.
    ///
    /// # Errors
    /// An interrupt, or what no other way to run the steps would help.
    pub(super) async fn start(
        build: Build<'s>,
        held: &Slot<'_>,
        booted: &Booted,
        snapshot: &Snapshot,
        name: &str,
    ) -> Result<Result<Self, String>, BuildError> {
        let machine = &build.plan.machine;
        let arch = build.plan.image.arch;
        let slot = build.slots.take_beside(build.job, held).await?;
        let request = DisposableRequest {
            job: build.job,
            builder: build.components.builder(machine)?,
            name,
            arch,
            machine,
            firmware: machine.firmware(arch),
            purpose: Purpose::Build,
            user: &booted.seed.user,
        };
        let error = match Disposable::start(request, snapshot).await {
            Ok(mut copy) => match &copy.connected {
                Ok(comm) => return Ok(Ok(Self { comm: Arc::clone(comm), copy, _slot: slot })),
                Err(error) => {
                    let (kind, message) = (error.kind(), error.to_string());
                    copy.machine.end().await;
                    BuildError::new(kind, message)
                }
            },
            Err(error) => error,
        };
        match error.kind() {
            BuildErrorKind::Machine | BuildErrorKind::Failed => {
                Ok(Err(error.to_string().lines().next().unwrap_or_default().to_owned()))
            }
            _ => Err(error),
        }
    }

    /// Whether it was resumed from the machine's memory; else it was booted from its disk.
    pub(super) fn resumed(&self) -> bool {
        self.copy.resumed
    }

    /// The connection.
    pub(super) fn comm(&self) -> &dyn Communicator {
        &*self.comm
    }

    /// The machine for steps, with the seed of their order.
    pub(super) fn target(&self, shuffle: Option<u32>) -> Target<'_> {
        Target { machine: &*self.copy.machine, comm: &*self.comm, shuffle }
    }

    /// Ends it, whatever it does.
    pub(super) async fn end(self) {
        self.copy.end().await;
    }
}

//! Builders, and what they are asked for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_comm::Communicator;
use imgbake_runtime::Job;
use imgbake_types::spec::{BuilderKind, Firmware};
use imgbake_types::{Arch, MachineSpec};
use uuid::Uuid;

use crate::{BaseDisk, BuildError, Machine, Seed};

/// What a machine shall be.
#[derive(Debug, Clone)]
pub struct MachineRequest {
    /// Its name: `build`, `verify-1`. Its files in the job's folder begin with it.
    pub name: String,
    /// The architecture.
    pub arch: Arch,
    /// What it has, and the builder's own settings.
    pub machine: MachineSpec,
    /// The firmware, where the builder lets one choose.
    pub firmware: Firmware,
    /// What it is for.
    pub purpose: Purpose,
    /// The disk it starts from, which it does not change.
    pub disk: BaseDisk,
    /// The keys that its login accepts, and its identity.
    pub seed: Seed,
    /// Its identity in SMBIOS, from which its MAC address derives.
    pub uuid: Uuid,
    /// A saved machine that is resumed, rather than one that boots.
    pub saved: Option<SavedMachine>,
}

impl MachineRequest {
    /// The disk that it boots from, or for a saved one, that it was booted from.
    pub fn booted_from(&self) -> &BaseDisk {
        self.saved.as_ref().map_or(&self.disk, |saved| &saved.booted_from)
    }
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An image is built in it: the builder may start it by a shorter way than its firmware.
    Build,
    /// It proves an image: it starts as any machine of that image will.
    Clone,
    /// As `Clone`, without any datasource for cloud-init: the login comes by another way.
    Bare,
}

/// A machine as it stood when it was saved. `disk`, `seed` and `uuid` of the request are its own.
#[derive(Debug, Clone)]
pub struct SavedMachine {
    /// The file of its memory and devices.
    pub state: Utf8PathBuf,
    /// The disk that it was booted from: its kernel is part of the machine.
    pub booted_from: BaseDisk,
}

/// Makes machines.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Its kind: its name in templates, and what its table there holds.
    fn kind(&self) -> BuilderKind;

    /// Whether this host can make such machines. No side effects but remembered probes.
    async fn check(
        &self,
        job: &Job,
        arch: Arch,
        machine: &MachineSpec,
        firmware: Firmware,
    ) -> Result<(), BuildError>;

    /// Whether such machines can be saved, or why not: they write to more than their root disk, for
    /// example. Their [`Machine::save`] and [`Machine::freeze`] refuse for the same reason.
    fn saves(&self, machine: &MachineSpec) -> Result<(), String> {
        let _ = machine;
        Err(format!("machines of the builder `{}` cannot be saved", self.kind().name))
    }

    /// What a saved machine's state depends on beside the template: a machine is resumed only where this
    /// is what it was. For example `qemu 10.0.2, q35, tcg, max,la57=off`. Asked only of a builder whose
    /// machines can be saved with their memory.
    async fn signature(
        &self,
        job: &Job,
        arch: Arch,
        machine: &MachineSpec,
        firmware: Firmware,
    ) -> Result<String, BuildError> {
        let _ = (job, arch, machine, firmware);
        let name = self.kind().name;
        Err(BuildError::failed(format!("the builder `{name}` resumes no machine")))
    }

    /// How many such machines boot sooner together than one after the other, at least 1. Where machines
    /// have processors of their own, as many as one likes.
    async fn boots_at_once(
        &self,
        job: &Job,
        arch: Arch,
        machine: &MachineSpec,
    ) -> Result<usize, BuildError> {
        let _ = (job, arch, machine);
        Ok(usize::MAX)
    }

    /// Starts a machine, or resumes a saved one. It runs when this returns, but need not answer yet.
    ///
    /// # Errors
    /// It cannot start from such a disk (kind `Usage`; see [`BaseDisk::local_for`] and
    /// [`BaseDisk::native_to`]).
    /// A saved one cannot be resumed here (kind `Machine`): nothing is left of it, and the same request
    /// without `saved` boots one from the layer's disk.
    async fn boot(
        &self,
        job: &Job,
        request: MachineRequest,
    ) -> Result<Box<dyn Machine>, BuildError>;
}

/// Starts a machine and waits until it accepts the login: gives the machine, and the connection or why
/// there is none.
///
/// A machine whose program crashes before that is started once more: QEMU 10.0.2 aborted in 3 of some 150
/// boots under TCG, while the guest probed its PCI devices (`msix_table_mmio_write: Assertion`).
///
/// # Errors
/// It could not be started.
pub async fn start(
    builder: &dyn Builder,
    job: &Job,
    request: MachineRequest,
    limit: Duration,
) -> Result<(Box<dyn Machine>, Result<Arc<dyn Communicator>, BuildError>), BuildError> {
    let mut machine = job.cancel().run(builder.boot(job, request.clone())).await??;
    let mut connected = job.cancel().run(machine.connect(limit)).await;
    if let Ok(Err(error)) = &connected
        && machine.crashed()
    {
        let what = error.to_string();
        let what = what.lines().take(2).collect::<Vec<_>>().join(" ");
        job.events().warn(format!("{what}; it is started once more"));
        machine.end().await;
        machine = job.cancel().run(builder.boot(job, request)).await??;
        connected = job.cancel().run(machine.connect(limit)).await;
    }
    let connected = connected.map_err(BuildError::from).and_then(|connected| connected);
    Ok((machine, connected))
}

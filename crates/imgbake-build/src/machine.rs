//! Builders and the machines that they make.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_comm::Communicator;
use imgbake_runtime::Job;
use imgbake_types::Arch;
use imgbake_types::spec::{Boot, Firmware, QemuSpec};
use uuid::Uuid;

use crate::{BaseDisk, BuildError, Seed};

/// What a machine shall be.
#[derive(Debug, Clone)]
pub struct MachineRequest {
    /// Its name: `build`, `verify-1`. Its files in the job's folder begin with it.
    pub name: String,
    /// The architecture.
    pub arch: Arch,
    /// `[builder.qemu]`
    pub spec: QemuSpec,
    /// The firmware.
    pub firmware: Firmware,
    /// Whether the disk's own kernel may be loaded directly.
    pub boot: Boot,
    /// The disk it starts from, through an overlay.
    pub disk: BaseDisk,
    /// What lets the build in.
    pub seed: Seed,
    /// Its identity in SMBIOS, from which its MAC address derives.
    pub uuid: Uuid,
    /// A saved machine that shall go on, rather than one that boots.
    pub saved: Option<SavedMachine>,
}

/// A machine as it stood when it was saved. `disk`, `seed` and `uuid` of the request are its own.
#[derive(Debug, Clone)]
pub struct SavedMachine {
    /// The file of its memory and devices.
    pub state: Utf8PathBuf,
    /// The disk that it was booted from: its kernel is part of the machine.
    pub booted_from: BaseDisk,
}

/// Where a machine's disk and state shall go.
#[derive(Debug, Clone)]
pub struct SaveRequest {
    /// The path that the disk's file is moved to, on the same file system. The machine goes on writing
    /// to a new overlay on it.
    pub disk: Utf8PathBuf,
    /// The path of a new file for memory and devices; without it, the disk alone is saved.
    pub state: Option<Utf8PathBuf>,
}

/// What was saved of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The disk's format and size.
    pub virtual_size: u64,
    /// Whether the state was written; why not, where it was asked for.
    pub state: Result<(), String>,
}

/// Makes machines.
#[async_trait]
pub trait Builder: Send + Sync {
    /// The builder's word: `qemu`.
    fn name(&self) -> &'static str;

    /// Whether this host can make such machines. No side effects but remembered probes.
    async fn check(
        &self,
        job: &Job,
        arch: Arch,
        spec: &QemuSpec,
        firmware: Firmware,
    ) -> Result<(), BuildError>;

    /// What a saved machine's state depends on beside the template: a machine goes on only where this
    /// is what it was. For example `qemu 10.0.2, q35, tcg, max,la57=off`.
    async fn signature(
        &self,
        job: &Job,
        arch: Arch,
        spec: &QemuSpec,
        firmware: Firmware,
    ) -> Result<String, BuildError>;

    /// Whether such machines can be saved, or why not: they write to more than their root disk, for
    /// example. [`Machine::save`] refuses for the same reason.
    fn saves(&self, spec: &QemuSpec) -> Result<(), String>;

    /// Starts a machine, or lets a saved one go on. It runs when this returns, but need not answer yet.
    ///
    /// # Errors
    /// A saved one cannot go on here (kind `Machine`): nothing is left of it, and the same request
    /// without `saved` boots one from the layer's disk.
    async fn boot(
        &self,
        job: &Job,
        request: MachineRequest,
    ) -> Result<Box<dyn Machine>, BuildError>;
}

/// One running guest.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Its name, as requested.
    fn name(&self) -> &str;

    /// Waits until ssh answers with the seed's host key and lets the seed's user key in. Fails at once
    /// when the machine panics, stops or restarts before that; the error holds the console's last
    /// lines and what was waited for.
    async fn connect(&mut self, limit: Duration) -> Result<Arc<dyn Communicator>, BuildError>;

    /// Whether the program that runs the machine was ended by a signal: by a fault of its own, or by the
    /// host.
    fn crashed(&self) -> bool;

    /// Ends when the machine does something nobody asked for: it panics, restarts while no restart is
    /// expected, powers off while no end is expected, or its disk cannot be written.
    async fn failure(&self) -> BuildError;

    /// From now on, one restart is expected; the machine is told apart from before by its count.
    fn expect_restart(&mut self);

    /// Waits for the restart that was expected. The old connection is of no use after it.
    async fn restarted(&mut self, limit: Duration) -> Result<(), BuildError>;

    /// From now on, powering off is expected.
    fn expect_power_off(&mut self);

    /// Waits until the machine is off and its disk is written.
    async fn powered_off(&mut self, limit: Duration) -> Result<(), BuildError>;

    /// Saves the machine as it is now and lets it go on: its disk is frozen under the request's path,
    /// and its memory and devices are written beside it. The machine stands still meanwhile; what the
    /// guest has not written to its disk is not on the frozen one.
    ///
    /// # Errors
    /// The disk could not be frozen; the machine goes on as if nothing had been asked. A state that
    /// could not be written is no error (see [`Saved::state`]).
    async fn save(&mut self, request: &SaveRequest) -> Result<Saved, BuildError>;

    /// What the serial console showed so far, redacted; at most the last megabyte.
    fn console(&self) -> String;

    /// The command that lets a user in by hand, for `--on-error keep`.
    fn access(&self) -> String;

    /// Lets the machine outlive this process, for `--on-error keep`.
    fn keep(&mut self);

    /// The disk's image file, for capture. Read it only once the machine is off.
    fn disk(&self) -> &Utf8Path;

    /// Ends the machine now, whatever it does. Ending one that is off is no error.
    async fn end(&mut self);
}

/// Starts a machine and waits until it lets the build in: gives the machine, and the way into it or why
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

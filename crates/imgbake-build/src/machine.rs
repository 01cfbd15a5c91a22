//! Builders and the machines that they make.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_comm::Communicator;
use imgbake_runtime::Job;
use imgbake_types::Arch;
use imgbake_types::spec::{Boot, Firmware, QemuSpec};

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

    /// Starts a machine. It runs when this returns, but need not answer yet.
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

//! A fake machine.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::disk_error;
use imgbake_build::{
    Access, BuildError, BuildErrorKind, FreezeDisk, Machine, MachineDisk, NativeDisk, SaveMachine,
    SnapshotMachine,
};
use imgbake_comm::{Communicator, KeyPair};
use imgbake_disk::DiskFormat;
use imgbake_runtime::{Job, space};

use super::comm::FakeComm;
use super::features::Features;
use super::guest::{Effect, Guest, State};
use super::native::NativeDisks;
use crate::lock::lock;

/// One fake machine.
pub(super) struct FakeMachine {
    pub(super) job: Job,
    pub(super) guest: Arc<Guest>,
    pub(super) features: Features,
    pub(super) natives: NativeDisks,
    pub(super) host_key: KeyPair,
    pub(super) key: Utf8PathBuf,
    /// Restarts that are expected in all.
    pub(super) expected: u32,
    pub(super) may_power_off: bool,
    pub(super) ended: bool,
}

impl FakeMachine {
    fn state(&self) -> State {
        self.guest.state.borrow().clone()
    }

    fn error(&self, what: &str) -> BuildError {
        let message = format!("machine `{}`: {what}", self.guest.name);
        BuildError::new(BuildErrorKind::Machine, message)
    }

    /// The error for what nobody asked for.
    fn unasked(&self, state: &State) -> Option<BuildError> {
        if state.disk_full {
            return Some(space::full(self.job.work(), None).into());
        }
        let what = match state {
            State { panicked: true, .. } => "the guest's kernel panicked",
            State { crashed: true, .. } => "its program was ended by a signal",
            State { off: true, .. } if !self.may_power_off => "it powered off",
            State { restarts, .. } if *restarts > self.expected => "it restarted",
            _ => return None,
        };
        Some(self.error(what))
    }

    async fn until(
        &self,
        limit: Duration,
        what: &str,
        done: impl Fn(&State) -> bool,
    ) -> Result<(), BuildError> {
        let mut states = self.guest.state.subscribe();
        let over = |state: &State| done(state) || self.unasked(state).is_some();
        let waited = tokio::time::timeout(limit, states.wait_for(over));
        match self.job.cancel().run(waited).await? {
            Ok(Ok(state)) => self.unasked(&state).map_or(Ok(()), Err),
            _ => Err(self.error(&format!("{what} did not happen within {} s", limit.as_secs()))),
        }
    }

    /// What a rule says of something that is done to the machine.
    fn asked(&self, what: &str) -> Result<(), BuildError> {
        let text = format!("@{what} {}", self.guest.name);
        let Some(answer) = self.guest.rules.answer(&text) else { return Ok(()) };
        self.guest.suffer(answer.effect);
        match self.unasked(&self.state()) {
            Some(error) => Err(error),
            None if answer.exit.ok() => Ok(()),
            None => Err(BuildError::failed(format!("cannot {what}: {}", answer.stderr))),
        }
    }

    fn frozen_file(&self) -> Utf8PathBuf {
        self.job.work().join(format!("{}.qcow2", self.guest.name))
    }
}

#[async_trait]
impl Machine for FakeMachine {
    fn name(&self) -> &str {
        &self.guest.name
    }

    async fn connect(&mut self, limit: Duration) -> Result<Arc<dyn Communicator>, BuildError> {
        let text = format!("@connect {}", self.guest.name);
        if let Some(answer) = self.guest.rules.answer(&text) {
            self.guest.suffer(answer.effect);
            if answer.effect == Effect::Hang {
                self.until(limit, "an answer", |_| false).await?;
            }
        }
        if let Some(error) = self.unasked(&self.state()) {
            return Err(error);
        }
        let restarts = self.state().restarts;
        Ok(Arc::new(FakeComm { guest: Arc::clone(&self.guest), restarts }))
    }

    fn crashed(&self) -> bool {
        self.state().crashed
    }

    async fn failure(&self) -> BuildError {
        let mut states = self.guest.state.subscribe();
        let waited = states.wait_for(|state| self.unasked(state).is_some()).await;
        let state = waited.map(|state| state.clone()).unwrap_or_default();
        self.unasked(&state).unwrap_or_else(|| self.error("it failed"))
    }

    fn expect_restart(&mut self) {
        self.expected = self.state().restarts + 1;
    }

    async fn restarted(&mut self, limit: Duration) -> Result<(), BuildError> {
        let expected = self.expected;
        self.until(limit, "its restart", |state| state.restarts >= expected).await
    }

    fn expect_power_off(&mut self) {
        self.may_power_off = true;
    }

    async fn powered_off(&mut self, limit: Duration) -> Result<(), BuildError> {
        self.until(limit, "its power-off", |state| state.off).await?;
        if self.features.disk_is_a_file && !self.frozen_file().exists() {
            self.guest.disk().freeze(&self.frozen_file()).map_err(disk_error)?;
        }
        Ok(())
    }

    fn console(&self) -> String {
        lock(&self.guest.console).clone()
    }

    fn access(&self) -> Access {
        Access {
            host: "127.0.0.1".to_owned(),
            port: 22,
            user: self.guest.user.clone(),
            key: self.key.clone(),
            host_key: self.host_key.public_openssh(),
        }
    }

    fn keep(&mut self) {}

    async fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.guest.rules.count(false);
        }
        self.may_power_off = true;
        self.guest.suffer(Effect::PowerOff);
    }

    fn disk(&self) -> Option<MachineDisk> {
        if self.features.disk_is_a_file {
            let path = self.frozen_file();
            return Some(MachineDisk::File { path, format: DiskFormat::Qcow2 });
        }
        self.guest.disk().source().ok().map(MachineDisk::Source)
    }

    fn freeze(&mut self) -> Option<&mut dyn FreezeDisk> {
        self.features.freezes.then_some(self as _)
    }

    fn save(&mut self) -> Option<&mut dyn SaveMachine> {
        self.features.saves.then_some(self as _)
    }

    fn snapshot(&self) -> Option<&dyn SnapshotMachine> {
        self.features.snapshots.then_some(self as _)
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        if !self.ended {
            self.guest.rules.count(false);
        }
    }
}

#[async_trait]
impl FreezeDisk for FakeMachine {
    async fn freeze_to(&mut self, disk: &Utf8Path) -> Result<(), BuildError> {
        self.asked("freeze")?;
        self.guest.disk().freeze(disk).map_err(disk_error)
    }
}

#[async_trait]
impl SnapshotMachine for FakeMachine {
    async fn snapshot_disk(&self) -> Result<NativeDisk, BuildError> {
        self.asked("snapshot")?;
        self.natives.copy(&self.job, self.guest.disk().clone())
    }
}

#[async_trait]
impl SaveMachine for FakeMachine {
    async fn save_to(
        &mut self,
        disk: &Utf8Path,
        state: &Utf8Path,
    ) -> Result<Result<(), String>, BuildError> {
        self.freeze_to(disk).await?;
        if let Err(error) = self.asked("save") {
            return Ok(Err(error.to_string()));
        }
        let memory = serde_json::to_vec(&*self.guest.memory()).unwrap_or_default();
        Ok(fs::write(state, memory).map_err(|error| error.to_string()))
    }
}

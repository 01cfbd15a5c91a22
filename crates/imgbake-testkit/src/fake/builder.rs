//! The builder of fake machines.

use std::fs;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use imgbake_build::{
    BuildError, BuildErrorKind, Builder, DiskLocation, LocalDisk, Machine, MachineRequest,
    NativeDisk,
};
use imgbake_runtime::Job;
use imgbake_runtime::error::io_at;
use imgbake_runtime::journal::Cleaner;
use imgbake_types::spec::{BuilderKind, Firmware};
use imgbake_types::{Arch, MachineSpec, Size, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::disk::FakeDisk;
use super::features::Features;
use super::guest::{Answer, Guest, Memory, Rule, Rules, State};
use super::machine::FakeMachine;
use super::native::NativeDisks;

/// `[builder.fake]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FakeSpec {
    /// The root disk's size. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
    /// How long a machine may take until it answers. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_timeout: Option<Span>,
    /// How long a machine may take to power off. Default: `3m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_timeout: Option<Span>,
    /// What its machines are made of. Default: `memory`.
    #[serde(default)]
    pub stuff: Stuff,
}

/// A setting that no other builder has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stuff {
    /// Memory.
    #[default]
    Memory,
    /// Thin air: no machine can be made of it.
    Air,
}

/// Makes fake machines. Clones are one builder.
#[derive(Debug, Clone)]
pub struct FakeBuilder {
    features: Features,
    rules: Arc<Rules>,
    natives: NativeDisks,
}

impl FakeBuilder {
    /// The kind: `[builder.fake]`.
    pub const KIND: BuilderKind = BuilderKind::of::<FakeSpec>("fake", "A machine in memory.");

    /// A builder whose machines can do this.
    pub fn new(features: Features) -> Self {
        Self { features, rules: Arc::default(), natives: NativeDisks::of(Self::KIND.name) }
    }

    /// Answers every command whose line or standard input holds a word so; of two rules, the later
    /// counts. `@boot NAME`, `@connect NAME`, `@freeze NAME`, `@save NAME`, `@snapshot NAME` and `@power-off` are what is
    /// done to a machine of a name.
    pub fn on(&self, word: &str, answer: Answer) -> &Self {
        self.rules.add(Rule { word: word.to_owned(), answer, times: None });
        self
    }

    /// The same, once.
    pub fn once(&self, word: &str, answer: Answer) -> &Self {
        self.rules.add(Rule { word: word.to_owned(), answer, times: Some(1) });
        self
    }

    /// What guests ran that is not imgbake's own, each after the machine's name; and `boot NAME`,
    /// `resume NAME` of each machine.
    pub fn ran(&self) -> Vec<String> {
        self.rules.ran()
    }

    /// How many machines run now.
    pub fn running(&self) -> usize {
        self.rules.counted("running")
    }

    /// How many machines ran at once at most.
    pub fn most_at_once(&self) -> usize {
        self.rules.counted("most")
    }

    /// Takes a disk in as one that is native to this builder.
    pub fn import(&self, id: &str, disk: &LocalDisk) -> NativeDisk {
        self.natives.import(id, disk)
    }

    /// The ids of its native disks.
    pub fn native_disks(&self) -> Vec<String> {
        self.natives.ids()
    }

    /// What removes the native disks of jobs that are over.
    pub fn cleaner(&self) -> Arc<dyn Cleaner> {
        Arc::new(self.natives.clone())
    }

    /// The disk of a new machine.
    fn disk(&self, request: &MachineRequest) -> Result<FakeDisk, BuildError> {
        let disk = match &request.disk.location {
            DiskLocation::Native(native) if self.features.native_disks => {
                native.check(Self::KIND.name)?;
                self.natives.get(&native.id)?
            }
            _ => FakeDisk::on(request.disk.local_for(Self::KIND.name)?),
        };
        Ok(disk.grown_to(request.machine.disk.map_or(0, Size::as_bytes)))
    }

    fn spec(machine: &MachineSpec) -> Result<FakeSpec, BuildError> {
        serde_json::to_value(machine)
            .and_then(serde_json::from_value)
            .map_err(|error| BuildError::failed(error.to_string()))
    }
}

#[async_trait]
impl Builder for FakeBuilder {
    fn kind(&self) -> BuilderKind {
        Self::KIND
    }

    async fn check(
        &self,
        _: &Job,
        _: Arch,
        machine: &MachineSpec,
        _: Firmware,
    ) -> Result<(), BuildError> {
        match Self::spec(machine)?.stuff {
            Stuff::Memory => Ok(()),
            Stuff::Air => {
                Err(BuildError::new(BuildErrorKind::Usage, "no machine is made of thin air"))
            }
        }
    }

    fn saves(&self, _: &MachineSpec) -> Result<(), String> {
        if self.features.freezes {
            Ok(())
        } else {
            Err("a fake machine without that feature cannot be saved".to_owned())
        }
    }

    async fn signature(
        &self,
        _: &Job,
        _: Arch,
        _: &MachineSpec,
        _: Firmware,
    ) -> Result<String, BuildError> {
        Ok("fake 1".to_owned())
    }

    async fn boot(
        &self,
        job: &Job,
        request: MachineRequest,
    ) -> Result<Box<dyn Machine>, BuildError> {
        let how = if request.saved.is_some() { "resume" } else { "boot" };
        let memory = match &request.saved {
            Some(saved) => resumed(&saved.state)?,
            None => Memory { boot_id: Uuid::new_v4().to_string() },
        };
        let key = job.work().join(format!("{}-key", request.name));
        fs::write(&key, request.seed.user_key.private_openssh()).map_err(io_at("write", &key))?;
        let disk = self.disk(&request)?;
        let guest = Guest {
            name: request.name.clone(),
            user: request.seed.user.clone(),
            identity: request.uuid,
            state: watch::Sender::new(State::default()),
            memory: Mutex::new(memory),
            console: Mutex::default(),
            disk: Mutex::new(disk),
            rules: Arc::clone(&self.rules),
        };
        guest.show("the fake guest boots");
        self.rules.note(format!("{how} {}", guest.name));
        if let Some(answer) = self.rules.answer(&format!("@{how} {}", guest.name)) {
            if !answer.exit.ok() && answer.effect == super::Effect::Nothing {
                let message = format!("cannot {how} `{}`: {}", guest.name, answer.stderr);
                return Err(BuildError::new(BuildErrorKind::Machine, message));
            }
            guest.suffer(answer.effect);
        }
        self.rules.count(true);
        Ok(Box::new(FakeMachine {
            job: job.clone(),
            guest: Arc::new(guest),
            features: Features {
                freezes: self.features.freezes && request.disk.local().is_some(),
                saves: self.features.saves && request.disk.local().is_some(),
                ..self.features
            },
            natives: self.natives.clone(),
            host_key: request.seed.host_key,
            key,
            expected: 0,
            may_power_off: false,
            ended: false,
        }))
    }
}

fn resumed(state: &camino::Utf8Path) -> Result<Memory, BuildError> {
    let read = fs::read(state).map_err(|error| error.to_string());
    let memory =
        read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    memory.map_err(|why| {
        let message = format!("the saved machine {state} cannot be resumed: {why}");
        BuildError::new(BuildErrorKind::Machine, message)
    })
}

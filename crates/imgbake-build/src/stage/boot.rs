//! Source and boot: from a plan to a machine that answers.

use std::sync::Arc;
use std::time::Duration;

use imgbake_comm::{Communicator, Exec};
use imgbake_types::plan::{Source, Step};
use imgbake_types::record::{Parent, StageRecord};
use imgbake_types::{Digest, Stage};
use uuid::Uuid;

use super::context::{Build, Log};
use super::failure::Failure;
use super::watched::watched;
use crate::disposable::Identity;
use crate::{
    BaseDisk, BuildError, DiskLocation, Machine, MachineRequest, Pattern, Planted, Purpose,
    SavedMachine, Seed, SourceContext,
};

/// A machine that answers.
pub struct Booted {
    pub(super) machine: Box<dyn Machine>,
    pub(super) comm: Arc<dyn Communicator>,
    pub(super) parent: Parent,
    pub(super) seed: Seed,
    pub(super) uuid: Uuid,
    pub(super) planted: Planted,
    /// The disk that it was booted from, itself or the machine that was saved.
    pub(super) base: BaseDisk,
    /// The layer whose disk it was booted from.
    pub(super) from: Option<Digest>,
    /// Whether somebody was in it.
    pub(super) by_hand: bool,
    pub(super) log: Log,
}

/// What a machine starts from.
pub(super) struct Start {
    pub(super) disk: BaseDisk,
    pub(super) seed: Seed,
    pub(super) uuid: Uuid,
    pub(super) saved: Option<SavedMachine>,
    /// How long it may take until ssh answers.
    pub(super) limit: Duration,
}

impl Start {
    /// A machine that boots from a disk, with a seed of its own.
    pub(super) fn boot(build: Build<'_>, disk: BaseDisk) -> Self {
        Self {
            disk,
            seed: Seed::new(build.job.id(), "build", build.plan.ssh.user(), true),
            uuid: Uuid::new_v4(),
            saved: None,
            limit: build.plan.machine.boot_timeout().duration(),
        }
    }
}

impl Booted {
    /// Who the machine is.
    pub(super) fn identity<'a>(&'a self, build: Build<'_>) -> Identity<'a> {
        Identity {
            seed: &self.seed,
            uuid: self.uuid,
            booted_from: &self.base,
            extra_disks: build.plan.machine.extra_disks.len(),
        }
    }

    /// Starts a machine from the source's disk and waits until ssh lets the build in.
    pub(super) async fn boot(
        build: Build<'_>,
        disk: BaseDisk,
    ) -> Result<(Self, StageRecord), Failure> {
        let stage = build.job.events().stage(Stage::Boot, Stage::Boot.name());
        stage.status("waiting for ssh");
        let mut booted = Self::start(build, Start::boot(build, disk)).await?;
        let spec = build.plan.seal();
        let sealer = &build.components.sealer;
        let planting = sealer.plant(build.job, &spec, &booted.seed, &*booted.comm);
        match watched(build, &*booted.machine, planting).await {
            Ok(planted) => {
                booted.planted.patterns.extend(planted.patterns);
                booted.planted.resolv_conf = planted.resolv_conf;
            }
            Err(error) => return Err(Failure::with(booted.machine)(error)),
        }
        Ok((booted, stage.finish(0, "ssh answers with the seed's host key")))
    }

    /// Starts a machine, or lets a saved one go on, and waits until ssh lets the build in.
    pub(super) async fn start(build: Build<'_>, start: Start) -> Result<Self, Failure> {
        let Start { disk, seed, uuid, saved, limit } = start;
        build.job.secrets().add("the build's ssh key", seed.user_key.private_openssh().trim());
        build.job.secrets().add("the build's ssh host key", seed.host_key.private_openssh().trim());
        let planted = Planted { patterns: seed_patterns(&seed), ..Planted::default() };
        let parent = disk.parent.clone();
        let spec = build.plan.machine.clone();
        let builder = build.components.builder(&spec)?;
        let request = MachineRequest {
            name: "build".into(),
            arch: build.plan.image.arch,
            firmware: spec.firmware(build.plan.image.arch),
            machine: spec,
            purpose: Purpose::Build,
            disk,
            seed: seed.clone(),
            uuid,
            saved,
        };
        let (boots, base) = (request.saved.is_none(), request.booted_from().clone());
        let (machine, connected) =
            crate::builder::start(builder, build.job, request, limit).await?;
        let comm = match connected {
            Ok(comm) => comm,
            Err(error) => return Err(Failure::with(machine)(error)),
        };
        // The first session of a boot starts more than a shell: the machine is up when it has run.
        // One that goes on was up before.
        if boots && let Err(error) = comm.check(Exec::new("true")).await {
            return Err(Failure::with(machine)(error.into()));
        }
        Ok(Self {
            machine,
            comm,
            parent,
            seed,
            uuid,
            planted,
            base,
            from: None,
            by_hand: false,
            log: Log::new(),
        })
    }
}

/// The source stage.
pub(super) async fn fetch(
    build: Build<'_>,
    step: &Step,
    source: &Source,
) -> Result<(BaseDisk, StageRecord), BuildError> {
    let stage = build.job.events().stage(Stage::Source, Stage::Source.name());
    let context = SourceContext {
        job: build.job,
        key: &step.key,
        arch: build.plan.image.arch,
        stage: &stage,
    };
    let disk =
        build.job.cancel().run(build.components.source(source)?.fetch(&context, source)).await??;
    let detail = match &disk.location {
        DiskLocation::Native(native) => format!("native disk {native}"),
        DiskLocation::Local(_) if disk.cached => format!("{}, cached", disk.parent.kind),
        DiskLocation::Local(_) => disk.parent.kind.clone(),
    };
    let mut record = stage.finish(disk.bytes, detail);
    record.cached = disk.cached;
    Ok((disk, record))
}

/// What of the seed must not be in an image.
fn seed_patterns(seed: &Seed) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for (name, key) in
        [("the build's ssh key", &seed.user_key), ("the build's ssh host key", &seed.host_key)]
    {
        for bytes in key.private_seed_forms() {
            patterns.push(Pattern { name: name.to_owned(), bytes, severe: true });
        }
        let public = key.public_openssh();
        // The first 16 bytes of the base64 body are the same in every ed25519 key.
        if let Some(body) = public.split(' ').nth(1).and_then(|body| body.get(25..)) {
            patterns.push(Pattern {
                name: format!("{name} (public part)"),
                bytes: body.into(),
                severe: true,
            });
        }
    }
    patterns.push(Pattern {
        name: "the build machine's cloud-init instance id".to_owned(),
        bytes: seed.instance_id.clone().into_bytes(),
        severe: false,
    });
    patterns
}

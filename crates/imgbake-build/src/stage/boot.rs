//! Source and boot: from a plan to a machine that answers.

use std::sync::Arc;

use imgbake_comm::{Communicator, Exec};
use imgbake_types::Stage;
use imgbake_types::record::{Parent, StageRecord};

use uuid::Uuid;

use super::{Build, Failure, Log};
use crate::{
    BaseDisk, BuildError, BuildErrorKind, Machine, MachineRequest, Pattern, Planted, Seed,
    SourceContext,
};

/// A machine that answers, as its source made it.
pub struct Booted {
    pub(super) machine: Box<dyn Machine>,
    pub(super) comm: Arc<dyn Communicator>,
    pub(super) parent: Parent,
    pub(super) seed: Seed,
    pub(super) planted: Planted,
    pub(super) log: Log,
}

impl Booted {
    /// Gets the base disk, starts the machine and waits until ssh lets the build in.
    pub async fn boot(build: Build<'_>) -> Result<Self, Failure> {
        let (disk, source) = fetch(build).await?;
        let parent = disk.parent.clone();
        let stage = build.job.events().stage(Stage::Boot, Stage::Boot.name());
        let seed = Seed::new(build.job.id(), "build", build.plan.ssh.user(), true);
        build.job.secrets().add("the build's ssh key", seed.user_key.private_openssh().trim());
        build.job.secrets().add("the build's ssh host key", seed.host_key.private_openssh().trim());
        let patterns = seed_patterns(&seed);
        let spec = build.plan.machine.clone();
        let limit = spec.boot_timeout().duration();
        let firmware = spec.firmware(build.plan.image.arch);
        let boot = spec.boot;
        let request = MachineRequest {
            name: "build".into(),
            arch: build.plan.image.arch,
            spec,
            firmware,
            boot,
            disk,
            seed: seed.clone(),
            uuid: Uuid::new_v4(),
            saved: None,
        };
        let mut machine =
            build.job.cancel().run(build.rooms.builder.boot(build.job, request)).await??;
        stage.status("waiting for ssh");
        let comm = match build.job.cancel().run(machine.connect(limit)).await {
            Ok(Ok(comm)) => comm,
            Ok(Err(error)) => return Err(Failure::with(machine)(error)),
            Err(error) => return Err(Failure::with(machine)(error.into())),
        };
        // The first session of a boot starts more than a shell: the machine is up when it has run.
        if let Err(error) = comm.check(Exec::new("true")).await {
            return Err(Failure::with(machine)(error.into()));
        }
        let log = vec![source, stage.finish(0, "ssh answers with the seed's host key")];
        let mut booted = Self { machine, comm, parent, seed, planted: Planted::default(), log };
        let spec = build.plan.seal();
        match build.rooms.sealer.plant(build.job, &spec, &booted.seed, &*booted.comm).await {
            Ok(planted) => booted.planted = planted,
            Err(error) => return Err(Failure::with(booted.machine)(error)),
        }
        booted.planted.patterns.extend(patterns);
        Ok(booted)
    }
}

/// The source stage.
async fn fetch(build: Build<'_>) -> Result<(BaseDisk, StageRecord), BuildError> {
    let (step, source) = build
        .plan
        .source()
        .ok_or_else(|| BuildError::new(BuildErrorKind::Usage, "the plan has no source"))?;
    let stage = build.job.events().stage(Stage::Source, Stage::Source.name());
    let context = SourceContext {
        job: build.job,
        key: &step.key,
        arch: build.plan.image.arch,
        stage: &stage,
    };
    let disk =
        build.job.cancel().run(build.rooms.source(source)?.fetch(&context, source)).await??;
    let detail = if disk.cached {
        format!("{}, cached", disk.parent.kind)
    } else {
        disk.parent.kind.clone()
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
            patterns.push(Pattern { name: name.to_owned(), bytes, grave: true });
        }
        let public = key.public_openssh();
        // The first 16 bytes of the base64 body are the same in every ed25519 key.
        if let Some(body) = public.split(' ').nth(1).and_then(|body| body.get(25..)) {
            patterns.push(Pattern {
                name: format!("{name} (public part)"),
                bytes: body.into(),
                grave: true,
            });
        }
    }
    patterns.push(Pattern {
        name: "the build machine's cloud-init instance id".to_owned(),
        bytes: seed.instance_id.clone().into_bytes(),
        grave: false,
    });
    patterns
}

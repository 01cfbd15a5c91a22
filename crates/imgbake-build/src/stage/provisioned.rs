//! Provision: every step of the plan, in order.

use std::time::Duration;

use imgbake_types::Stage;
use imgbake_types::plan::Step;
use imgbake_types::record::StageRecord;
use imgbake_types::spec::ProvisionSpec;

use super::{Booted, Build, Failure, Rescued};
use crate::{BuildError, BuildErrorKind, StepContext, StepEnd};

/// How long a machine that lost its connection may take to tell why: a guest's shutdown.
const AFTERMATH: Duration = Duration::from_secs(20);

/// A machine on which every provision step has run.
pub struct Provisioned(pub(super) Booted);

impl Booted {
    /// Runs one provision step. Where it fails and somebody enters the machine, it may be tried again.
    pub(super) async fn provision(
        mut self: Box<Self>,
        build: Build<'_>,
        step: &Step,
        spec: &ProvisionSpec,
    ) -> Result<(Box<Self>, StageRecord), Failure> {
        loop {
            let error = match self.step(build, step, spec).await {
                Ok(record) => return Ok((self, record)),
                Err(error) => error,
            };
            // A machine that is gone, or a build that is to end, is nothing to look into.
            let ended = matches!(error.kind(), BuildErrorKind::Cancelled | BuildErrorKind::Machine);
            let Some(rescue) = build.rescue.filter(|_| !ended) else {
                return Err(Failure::with(self.machine)(error));
            };
            self.by_hand = true;
            match rescue.enter(&step.name, &error, &self.machine.access()).await {
                Rescued::Retry => {}
                Rescued::GiveUp => return Err(Failure::with(self.machine)(error)),
            }
        }
    }

    async fn step(
        &mut self,
        build: Build<'_>,
        step: &Step,
        spec: &ProvisionSpec,
    ) -> Result<StageRecord, BuildError> {
        let room = build.rooms.provisioner(spec)?;
        let stage = build.job.events().stage(Stage::Provision, &step.name);
        if spec.expects_restart() {
            self.machine.expect_restart();
        }
        let context = StepContext { job: build.job, name: &step.name, spec, comm: &*self.comm };
        let (end, bytes) = tokio::select! {
            biased;
            () = build.job.cancel().cancelled() => return Err(imgbake_runtime::RuntimeError::cancelled().into()),
            failure = self.machine.failure() => return Err(failure),
            done = room.provision(&context) => match done {
                Err(error) if error.kind() == BuildErrorKind::Machine => {
                    return Err(build.job.cancel().run(self.why(error)).await?);
                }
                done => done?,
            },
        };
        if end == StepEnd::Restarting {
            let limit = build.plan.machine.boot_timeout().duration();
            stage.status("waiting for the machine to restart");
            build.job.cancel().run(self.machine.restarted(limit)).await??;
            self.comm = build.job.cancel().run(self.machine.connect(limit)).await??;
        }
        Ok(stage.finish(bytes, spec.kind()))
    }

    /// A lost connection is most often the first sign of something graver, which the machine tells a
    /// little later: it powered off, restarted or panicked.
    async fn why(&self, lost: BuildError) -> BuildError {
        match tokio::time::timeout(AFTERMATH, self.machine.failure()).await {
            Ok(failure) => match lost.help_text() {
                Some(help) => failure.help(help),
                None => failure,
            },
            Err(_) => lost,
        }
    }
}

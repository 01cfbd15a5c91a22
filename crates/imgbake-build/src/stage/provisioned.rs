//! Provision: every step of the plan, in order.

use std::time::Duration;

use imgbake_types::Stage;
use imgbake_types::plan::Step;
use imgbake_types::record::StageRecord;
use imgbake_types::spec::ProvisionSpec;

use super::{Booted, Build, Failure};
use crate::{BuildError, BuildErrorKind, StepContext, StepEnd};

/// How long a machine that lost its connection may take to tell why: a guest's shutdown.
const AFTERMATH: Duration = Duration::from_secs(20);

/// A machine on which every provision step has run.
pub struct Provisioned(pub(super) Booted);

impl Booted {
    /// Runs the plan's provision steps.
    pub async fn provision(mut self, build: Build<'_>) -> Result<Provisioned, Failure> {
        for (step, spec) in build.plan.provisions() {
            match self.step(build, step, spec).await {
                Ok(record) => self.log.push(record),
                Err(error) => return Err(Failure::with(self.machine)(error)),
            }
        }
        Ok(Provisioned(self))
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

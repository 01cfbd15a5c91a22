//! Provision: every step of the plan, in order.

use imgbake_runtime::StageGuard;
use imgbake_types::Stage;
use imgbake_types::plan::Step;
use imgbake_types::record::StageRecord;
use imgbake_types::spec::ProvisionSpec;

use super::boot::Booted;
use super::context::Build;
use super::failure::Failure;
use super::rescue::Rescued;
use super::watched::watched;
use crate::provision::unreadable;
use crate::{BuildError, BuildErrorKind, Provisioner, StepContext, StepEnd, StepRecorder};

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
        let provisioner = build.components.provisioner(spec)?;
        let stage = build.job.events().stage(Stage::Provision, &step.name);
        let resolved = provisioner.kind().resolve(spec);
        if resolved.map_err(|error| unreadable(&step.name, &error))?.expects_restart {
            self.machine.expect_restart();
        }
        let results = provisioner.kind().results;
        let recorder = StepRecorder::begin(build.job, &step.name, &spec.kind).live(results);
        let ended = self.run_step(build, provisioner, &stage, &step.name, spec, &recorder).await;
        let report = recorder.finish(ended.as_ref().err());
        ended?;
        let detail = match report.counts {
            counts if results && counts.total() > 0 => format!("{}: {counts}", spec.kind),
            _ => spec.kind.clone(),
        };
        let mut record = stage.finish(report.bytes, &detail);
        record.report = Some(report);
        Ok(record)
    }

    /// Runs the step against all that may end it, and waits for the restart that it announced.
    async fn run_step(
        &mut self,
        build: Build<'_>,
        provisioner: &dyn Provisioner,
        stage: &StageGuard,
        name: &str,
        spec: &ProvisionSpec,
        recorder: &StepRecorder,
    ) -> Result<(), BuildError> {
        let access = self.machine.access();
        let comm = &*self.comm;
        let context = StepContext {
            job: build.job,
            name,
            spec,
            comm,
            access: &access,
            recorder,
            shuffle: None,
        };
        let end = watched(build, &*self.machine, provisioner.provision(&context)).await?;
        if end == StepEnd::Restarting {
            let limit = build.plan.machine.boot_timeout().duration();
            stage.status("waiting for the machine to restart");
            build.job.cancel().run(self.machine.restarted(limit)).await??;
            self.comm = build.job.cancel().run(self.machine.connect(limit)).await??;
        }
        Ok(())
    }
}

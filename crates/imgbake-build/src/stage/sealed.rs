//! Seal: identity and secrets out, power off.

use imgbake_types::record::{Parent, StageRecord};
use imgbake_types::{Size, Stage};

use super::context::{Build, Log};
use super::failure::Failure;
use super::provisioned::Provisioned;
use crate::{Machine, Pattern, SealContext};

/// A machine that is off and holds no identity. Only this can be captured.
pub struct Sealed {
    pub(super) machine: Box<dyn Machine>,
    pub(super) parent: Parent,
    pub(super) patterns: Vec<Pattern>,
    pub(super) log: Log,
}

impl Provisioned {
    /// Seals the machine and powers it off.
    pub async fn seal(self, build: Build<'_>) -> Result<Sealed, Failure> {
        let mut booted = self.0;
        let stage = build.job.events().stage(Stage::Seal, Stage::Seal.name());
        let limit = build.plan.machine.shutdown_timeout().duration();
        let spec = build.plan.seal();
        let context = SealContext {
            job: build.job,
            spec: &spec,
            seed: &booted.seed,
            planted: &booted.planted,
            power_off_limit: limit,
        };
        let sealing = build.components.sealer.seal(&context, &mut *booted.machine, &*booted.comm);
        let report = match build.job.cancel().run(sealing).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return Err(Failure::with(booted.machine)(error)),
            Err(error) => return Err(Failure::with(booted.machine)(error.into())),
        };
        let sealed = report.record;
        let detail = format!(
            "{} operations removed {} items, {}",
            sealed.operations.len(),
            sealed.removed(),
            Size::bytes(sealed.bytes()).human()
        );
        let record = stage.finish(sealed.bytes(), detail);
        booted.log.push(StageRecord { seal: Some(sealed), ..record });
        let mut patterns = booted.planted.patterns;
        patterns.extend(report.residues);
        for (name, bytes) in build.job.secrets().patterns() {
            if spec.allow_sensitive.contains(&name) {
                continue;
            }
            patterns.push(Pattern {
                name: format!("sensitive value `{name}`"),
                bytes,
                severe: true,
            });
        }
        Ok(Sealed { machine: booted.machine, parent: booted.parent, patterns, log: booted.log })
    }
}

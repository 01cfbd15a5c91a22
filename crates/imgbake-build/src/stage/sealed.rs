//! Seal: identity and secrets out, power off.

use imgbake_types::{Size, Stage};

use super::{Build, Failure, Log, Provisioned};
use crate::{Machine, Pattern, SealContext};
use imgbake_types::record::Parent;

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
        let sealing = build.rooms.sealer.seal(&context, &mut *booted.machine, &*booted.comm);
        let report = match build.job.cancel().run(sealing).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return Err(Failure::with(booted.machine)(error)),
            Err(error) => return Err(Failure::with(booted.machine)(error.into())),
        };
        let removed: u64 = report.operations.iter().map(|(_, removed, _)| removed).sum();
        let detail = format!(
            "{} operations removed {removed} things, {}",
            report.operations.len(),
            Size::bytes(report.bytes()).human()
        );
        booted.log.push(stage.finish(report.bytes(), detail));
        let mut patterns = booted.planted.patterns;
        patterns.extend(report.residues);
        for (name, bytes) in build.job.secrets().patterns() {
            patterns.push(Pattern {
                name: format!("sensitive value `{name}`"),
                bytes,
                grave: true,
            });
        }
        Ok(Sealed { machine: booted.machine, parent: booted.parent, patterns, log: booted.log })
    }
}

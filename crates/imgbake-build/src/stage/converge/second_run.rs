//! Runs steps again, and collects what they change.

use imgbake_comm::Communicator;
use imgbake_types::record::step::{ResourceCounts, ResourceOutcome};
use imgbake_types::{Outcome, Stage};

use super::judge::Changed;
use super::run::Run;
use crate::stage::context::Build;
use crate::stage::watched::watched;
use crate::{BuildError, BuildErrorKind, Machine, StepContext, StepEnd, StepRecorder};

/// A machine on which steps are run again.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) machine: &'a dyn Machine,
    pub(super) comm: &'a dyn Communicator,
    /// The seed of a random order of resources.
    pub(super) shuffle: Option<u32>,
}

/// What the second runs showed.
#[derive(Default)]
pub(super) struct SecondRun {
    /// Wall time of the runs alone.
    pub(super) seconds: f64,
    pub(super) counts: ResourceCounts,
    pub(super) changed: Vec<Changed>,
}

/// One run of a step.
#[derive(Clone, Copy)]
pub(super) struct Again<'a> {
    pub(super) build: Build<'a>,
    pub(super) run: &'a Run<'a>,
    /// Which run it is, in messages: `second run`.
    pub(super) which: &'a str,
    /// How many resources the first run had, where that is known.
    pub(super) first: u64,
    /// Whether it is a stage of its own.
    pub(super) staged: bool,
}

impl Again<'_> {
    /// Runs the step on a machine.
    ///
    /// # Errors
    /// An interrupt; a run that failed, restarts the machine, or managed nothing although the first run did.
    pub(super) async fn run(
        self,
        target: Target<'_>,
        all: &mut SecondRun,
    ) -> Result<(), BuildError> {
        let Self { build, run, which, first, staged } = self;
        let (job, spec, access) = (build.job, run.spec, &target.machine.access());
        let name = format!("{} ({which})", run.name);
        let stage = staged.then(|| job.events().stage(Stage::Provision, &name));
        let results = run.provisioner.kind().results;
        let recorder = StepRecorder::begin(job, &name, &spec.kind).live(results);
        let (comm, shuffle) = (target.comm, target.shuffle);
        let ended = {
            let context =
                StepContext { job, name: &name, spec, comm, access, recorder: &recorder, shuffle };
            watched(build, target.machine, run.provisioner.provision(&context)).await
        };
        let report = recorder.finish(ended.as_ref().err());
        let (counts, seconds) = (report.counts, report.seconds);
        all.seconds += seconds;
        all.count(counts);
        let is_changed = |outcome| outcome == ResourceOutcome::Changed;
        let changed = report.resources.into_iter().filter(|one| is_changed(one.outcome));
        all.changed.extend(changed.map(|resource| Changed::reported(run, resource)));
        let result = match ended {
            Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let message = format!("step `{}`: its {which} failed: {error}", run.name);
                let help = error.help_text().map(str::to_owned);
                Err(BuildError::new(error.kind(), message).help_if_any(help))
            }
            Ok(StepEnd::Restarting) => Err(BuildError::failed(format!(
                "step `{}`: its {which} restarts the machine: what that changes is unknown",
                run.name
            ))
            .help("set `converge = \"off\"` for it, or restart in a step of its own")),
            Ok(StepEnd::Running) if counts.total() == 0 && first > 0 => {
                Err(BuildError::failed(format!(
                    "step `{}`: its {which} managed no resource, and its first run {first}: whether it converges is \
                     unknown",
                    run.name
                )))
            }
            Ok(StepEnd::Running) => Ok(()),
        };
        if let Some(stage) = stage {
            let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
            stage.end(outcome, report.bytes, counts.to_string());
        }
        result
    }
}

impl SecondRun {
    fn count(&mut self, more: ResourceCounts) {
        self.counts.changed += more.changed;
        self.counts.unchanged += more.unchanged;
        self.counts.failed += more.failed;
        self.counts.skipped += more.skipped;
    }

    /// Resources that changed and that no report lists: none of those is known to be allowed.
    pub(super) fn unlisted(&self) -> u64 {
        let listed = self.changed.iter().filter(|one| !one.compared).count() as u64;
        self.counts.changed.saturating_sub(listed)
    }

    /// Whether everything that changed may change.
    pub(super) fn is_allowed(&self) -> bool {
        self.unlisted() == 0 && self.changed.iter().all(|one| one.allowed)
    }

    /// How many resources changed.
    pub(super) fn total_changed(&self) -> u64 {
        self.unlisted() + self.changed.len() as u64
    }
}

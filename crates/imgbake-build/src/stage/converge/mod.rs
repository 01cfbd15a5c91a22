//! The proof that a step converges in one run: it is run once more on a copy of the machine, where it must
//! change nothing. The machine itself has had one run.

mod compare;
mod copy;
mod end;
mod judge;
mod run;
mod second_run;
mod shuffle;
mod state;

use std::collections::BTreeMap;
use std::time::Instant;

use imgbake_types::plan::{Step, StepKind};
use imgbake_types::record::StageRecord;
use imgbake_types::record::step::{Convergence, ProofPlace};
use imgbake_types::spec::{Converge, ConvergeSteps, ProvisionSpec};
use imgbake_types::{Outcome, Stage};

use self::compare::{After, Difference};
use self::copy::Copied;
pub use self::end::EndState;
use self::judge::{Changed, described, judge};
use self::run::Run;
use self::second_run::{Again, SecondRun, Target};
use self::shuffle::Shuffle;
use self::state::{Inspector, State};
use super::boot::Booted;
use super::context::Build;
use crate::provision::step_event;
use crate::{BuildError, BuildErrorKind, Slot, Snapshot};

/// What is run again after a step, and how that is judged.
pub(super) struct Proof<'a> {
    build: Build<'a>,
    /// The right to run the build's own machine.
    slot: &'a Slot<'a>,
    /// The step after which it is done.
    step: &'a Step,
    runs: Vec<Run<'a>>,
    /// How many resources the first run of each step had, by the step's name.
    first: BTreeMap<String, u64>,
    /// Whether the machine is compared with what it was before.
    compares: bool,
    /// What the machine was before the step, where it is run in another order.
    before: Option<Snapshot>,
}

impl<'a> Proof<'a> {
    /// The proof after a step; none where nothing is to be run again. The log has the steps before.
    pub(super) fn wanted(
        build: Build<'a>,
        slot: &'a Slot<'a>,
        (step, spec): (&'a Step, &'a ProvisionSpec),
        log: &[StageRecord],
    ) -> Result<Option<Self>, BuildError> {
        let all = build.plan.converge.steps == ConvergeSteps::All;
        let last = build.plan.layers().last().is_some_and(|last| last.key == step.key);
        let compares = spec.converge == Some(Converge::Check);
        let mut runs = Vec::new();
        for other in build.plan.layers() {
            let StepKind::Provision { provision: spec } = &other.kind else { continue };
            let provisioner = build.components.provisioner(spec)?;
            let kind = provisioner.kind();
            let here = other.key == step.key;
            let wanted = match spec.converge {
                Some(Converge::Off) => false,
                Some(Converge::Check) => here,
                Some(Converge::Once | Converge::Shuffle) => here || all && last,
                None if all => last && kind.results,
                None => here && kind.converge == Converge::Once,
            };
            if wanted {
                runs.push(Run { name: &other.name, spec, provisioner });
            }
        }
        if runs.is_empty() {
            return Ok(None);
        }
        let total =
            |stage: &StageRecord| Some((stage.name.clone(), stage.report.as_ref()?.counts.total()));
        let first = log.iter().filter_map(total).collect();
        Ok(Some(Self { build, slot, step, runs, first, compares, before: None }))
    }

    /// Whether the step is to be run in another order, for which the machine as it is before the step must be kept.
    pub(super) fn shuffles(&self) -> bool {
        self.own_run().is_some_and(|run| run.spec.converge == Some(Converge::Shuffle))
    }

    /// Keeps what the machine is before the step.
    pub(super) fn set_before(&mut self, before: Snapshot) {
        self.before = Some(before);
    }

    /// The step itself, where it is run again.
    fn own_run(&self) -> Option<&Run<'a>> {
        self.runs.iter().find(|run| run.name == self.step.name)
    }

    /// Runs the steps again and judges that; what it showed goes into the step's record, however it ends. They run on
    /// a copy of the machine, or on the machine itself where none can be made, which `copy` then says why.
    ///
    /// # Errors
    /// An interrupt; a step that did not converge, or whose second run cannot be judged.
    pub(super) async fn check(
        &mut self,
        record: &mut StageRecord,
        booted: &Booted,
        copy: Result<&Snapshot, String>,
    ) -> Result<(), BuildError> {
        if let Some(report) = &record.report {
            self.first.insert(self.step.name.clone(), report.counts.total());
        }
        let (mut convergence, mut result) = self.prove(booted, copy).await?;
        if result.is_ok()
            && let (Some(before), Some(run)) = (&self.before, self.own_run())
        {
            let seed = run.spec.converge_seed;
            let seed = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_fields().0);
            let (build, slot, first) = (self.build, self.slot, self.first(run));
            convergence.seed = Some(seed);
            result = Shuffle { build, slot, run, first, seed }.check(booted, before).await;
            convergence.converged = result.is_ok();
        }
        if let Some(before) = &self.before {
            before.forget();
        }
        if let Err(error) = &result
            && error.kind() == BuildErrorKind::Cancelled
        {
            return result;
        }
        if let Some(mut report) = record.report.take() {
            report.convergence = Some(convergence);
            let report = report.bound();
            self.build.job.events().emit(step_event(&self.step.name, false, &report));
            record.report = Some(report);
        }
        result
    }

    /// Runs the steps again; gives what that showed, and whether the build may go on.
    ///
    /// # Errors
    /// An interrupt.
    async fn prove(
        &self,
        booted: &Booted,
        snapshot: Result<&Snapshot, String>,
    ) -> Result<(Convergence, Result<(), BuildError>), BuildError> {
        let stage = self.build.job.events().stage(Stage::Provision, &self.title());
        let started = Instant::now();
        stage.status("copying the machine");
        let copied = match snapshot {
            Ok(snapshot) => {
                let copy =
                    Copied::start(self.build, self.slot, booted, snapshot, "converge").await?;
                copy.map(|copy| (copy, snapshot))
            }
            Err(reason) => Err(reason),
        };
        stage.status("running the step again");
        let mut again = SecondRun::default();
        let (place, result) = match copied {
            Ok((copy, snapshot)) => {
                let place =
                    if copy.resumed() { ProofPlace::Copy } else { ProofPlace::SecondMachine };
                (place, self.on_copy(copy, booted, snapshot, &mut again).await)
            }
            Err(reason) => {
                self.build.job.events().warn(format!(
                    "step `{}`: no copy of the machine can be made ({reason}); it is run again in place, and the image \
                     has had two runs",
                    self.step.name
                ));
                let target =
                    Target { machine: &*booted.machine, comm: &*booted.comm, shuffle: None };
                (ProofPlace::InPlace, self.in_place(target, &mut again).await)
            }
        };
        let result = match result {
            Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
            Err(error) => Err(error),
            Ok(()) => judge(&self.step.name, &self.runs, &again.changed, again.unlisted()),
        };
        let alone = matches!(self.runs.as_slice(), [run] if run.name == self.step.name);
        let names = || self.runs.iter().map(|run| run.name.to_owned()).collect();
        let convergence = Convergence {
            converged: result.is_ok(),
            steps: if alone { Vec::new() } else { names() },
            seed: None,
            place,
            seconds: started.elapsed().as_secs_f64(),
            run_seconds: again.seconds,
            counts: again.counts,
            changed: again.changed.iter().map(|one| one.resource.clone()).collect(),
        };
        let outcome = if convergence.converged { Outcome::Done } else { Outcome::Failed };
        let message = match (again.total_changed(), convergence.converged) {
            (0, true) => "it changes nothing".to_owned(),
            (0, false) => "it cannot be judged".to_owned(),
            (many, true) => format!("it changes {many}, all allowed"),
            (many, false) => format!("it changes {many}"),
        };
        stage.end(outcome, 0, format!("{message}; on {}", described(place)));
        Ok((convergence, result))
    }

    /// What the proof is called.
    fn title(&self) -> String {
        match self.runs.as_slice() {
            [run] => format!("{} (second run)", run.name),
            _ => "all steps (second run)".to_owned(),
        }
    }

    /// How many resources the first run of a step had.
    fn first(&self, run: &Run<'_>) -> u64 {
        self.first.get(run.name).copied().unwrap_or_default()
    }

    /// Runs the steps on a copy, and compares it with what it was before where that is wanted.
    async fn on_copy(
        &self,
        copy: Copied<'_>,
        booted: &Booted,
        snapshot: &Snapshot,
        again: &mut SecondRun,
    ) -> Result<(), BuildError> {
        let observed = self.observe(&copy, again).await;
        copy.end().await;
        let Some((before, after)) = observed? else { return Ok(()) };
        // Another copy of the same machine still has what was there before.
        let earlier = Copied::start(self.build, self.slot, booted, snapshot, "before").await?;
        let earlier = earlier.map_err(|reason| {
            BuildError::failed(format!(
                "step `{}`: its second run cannot be judged: no second copy of the machine can be made: {reason}",
                self.step.name
            ))
        })?;
        let inspector = Inspector { job: self.build.job, comm: earlier.comm() };
        let found = after.compared_with_copy(&before, inspector).await;
        earlier.end().await;
        self.add(found?, &after, again);
        Ok(())
    }

    /// Runs the steps on a copy; gives what it was before, and what it is then, where that is to be compared.
    async fn observe(
        &self,
        copy: &Copied<'_>,
        again: &mut SecondRun,
    ) -> Result<Option<(State, After)>, BuildError> {
        if !self.compares {
            self.run_all(copy.target(None), again).await?;
            return Ok(None);
        }
        let inspector = Inspector { job: self.build.job, comm: copy.comm() };
        let ignored = self.build.plan.converge.ignored();
        let before = inspector.state(&ignored).await?;
        self.run_all(copy.target(None), again).await?;
        let after = After::read(inspector, &before, &ignored).await?;
        Ok(Some((before, after)))
    }

    /// Runs the steps on the machine itself: what is compared is read whole before, since nobody can be asked for it
    /// later.
    async fn in_place(&self, target: Target<'_>, again: &mut SecondRun) -> Result<(), BuildError> {
        if !self.compares {
            return self.run_all(target, again).await;
        }
        let inspector = Inspector { job: self.build.job, comm: target.comm };
        let ignored = self.build.plan.converge.ignored();
        let before = inspector.state(&ignored).await?;
        let contents = inspector.contents(&before, before.files.keys()).await?;
        self.run_all(target, again).await?;
        let after = After::read(inspector, &before, &ignored).await?;
        self.add(after.compared(&before, &contents), &after, again);
        Ok(())
    }

    async fn run_all(&self, target: Target<'_>, again: &mut SecondRun) -> Result<(), BuildError> {
        for run in &self.runs {
            let (build, first, staged) = (self.build, self.first(run), self.runs.len() > 1);
            let one = Again { build, run, which: "second run", first, staged };
            one.run(target, again).await?;
        }
        Ok(())
    }

    /// Adds what a comparison found. Nothing of it has passed a recorder: sensitive values are redacted here.
    fn add(&self, found: Vec<Difference>, after: &After, again: &mut SecondRun) {
        let job = self.build.job;
        if !after.has_attributes() {
            let message = "extended attributes of files and their capabilities are not compared: the machine has \
                           neither getfattr nor python3 nor GNU tar";
            job.events().warn(format!("step `{}`: {message}", self.step.name));
        }
        for mut one in found {
            for text in one.resource.texts() {
                *text = job.secrets().redact(text);
            }
            again.changed.push(Changed::compared(&self.step.name, &self.runs, one.resource));
        }
    }
}

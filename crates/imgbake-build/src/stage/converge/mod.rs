//! The proof that a step converges in one run: it is run once more on a copy of the machine, where it must
//! change nothing. The machine itself has had one run.

mod compare;
mod end;
mod judge;
mod run;
mod state;

use std::time::Instant;

use imgbake_comm::Communicator;
use imgbake_types::plan::{Step, StepKind};
use imgbake_types::record::StageRecord;
use imgbake_types::record::step::{Convergence, ProofPlace, ResourceCounts, ResourceOutcome};
use imgbake_types::spec::{Converge, ConvergeSteps, ProvisionSpec};
use imgbake_types::{Outcome, Stage};

pub use self::end::EndState;
use self::judge::{Changed, described, is_allowed, judge};
use self::run::Run;
use self::state::{Look, State};
use super::boot::Booted;
use super::context::Build;
use super::watched::watched;
use crate::{
    BuildError, BuildErrorKind, Disposable, DisposableRequest, Machine, Purpose, Snapshot,
    StepContext, StepEnd, StepRecorder,
};

/// What is run again after a step, and how that is judged.
pub(super) struct Proof<'a> {
    build: Build<'a>,
    /// The step after which it is done.
    step: &'a Step,
    runs: Vec<Run<'a>>,
    /// Whether the machine is compared with what it was before.
    compares: bool,
    /// What the machine was before the step, where it is run in another order.
    before: Option<Snapshot>,
}

/// A machine on which steps are run again.
#[derive(Clone, Copy)]
struct On<'a> {
    machine: &'a dyn Machine,
    comm: &'a dyn Communicator,
    /// The seed of an order by chance.
    shuffle: Option<u32>,
}

impl<'a> Proof<'a> {
    /// The proof after a step; none where nothing is to be run again.
    pub(super) fn wanted(
        build: Build<'a>,
        step: &'a Step,
        spec: &'a ProvisionSpec,
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
        Ok((!runs.is_empty()).then_some(Self { build, step, runs, compares, before: None }))
    }

    /// Runs the steps again and judges that; what it showed goes into the step's record.
    ///
    /// # Errors
    /// An interrupt; a step that did not converge, or whose second run cannot be judged.
    pub(super) async fn settle(
        &self,
        record: &mut StageRecord,
        booted: &Booted,
        copy: Option<&Snapshot>,
    ) -> Result<(), BuildError> {
        let first = record.report.as_ref().map(|report| report.counts.total()).unwrap_or_default();
        let (mut convergence, changed) = self.run(booted, copy, first).await?;
        let mut judged = judge(&self.step.name, &self.runs, first, &convergence, &changed);
        if judged.is_ok()
            && let Some(before) = &self.before
        {
            let seed = self.seed();
            convergence.seed = Some(seed);
            judged = self.shuffled(booted, before, seed).await;
            convergence.converged = judged.is_ok();
        }
        if let Some(report) = &mut record.report {
            report.convergence = Some(convergence);
        }
        judged
    }

    /// Runs the steps on a copy of the machine, or on the machine itself where no copy can be made. `first` is how many
    /// resources the first run of the step had.
    async fn run(
        &self,
        booted: &Booted,
        snapshot: Option<&Snapshot>,
        first: u64,
    ) -> Result<(Convergence, Vec<Changed>), BuildError> {
        let stage = self.build.job.events().stage(Stage::Provision, &self.title());
        let started = Instant::now();
        stage.status("copying the machine");
        let copied = match snapshot {
            Some(snapshot) => self.copy(booted, snapshot, "converge").await?,
            None => None,
        };
        stage.status("running the step again");
        let (place, ran) = if let (Some(copy), Some(snapshot)) = (copied, snapshot) {
            let place = if copy.resumed { ProofPlace::Copy } else { ProofPlace::SecondMachine };
            (place, self.on_copy(copy, booted, snapshot).await)
        } else {
            let on = On { machine: &*booted.machine, comm: &*booted.comm, shuffle: None };
            (ProofPlace::InPlace, self.again(on, None).await)
        };
        let Ran { seconds: run_seconds, counts, changed } = ran?;
        // The first run is known of this step alone.
        let own = matches!(self.runs.as_slice(), [run] if run.name == self.step.name);
        let idle = own && counts.total() == 0 && first > 0;
        let forbidden = changed.iter().any(|one| !is_allowed(one));
        let listed = changed.iter().filter(|one| !one.compared).count() as u64;
        let names = || self.runs.iter().map(|run| run.name.to_owned()).collect();
        let convergence = Convergence {
            // More may have changed than a report lists: none of those is known to be allowed.
            converged: !forbidden && !idle && counts.changed <= listed,
            steps: if self.runs.len() == 1 { Vec::new() } else { names() },
            seed: None,
            place,
            seconds: started.elapsed().as_secs_f64(),
            run_seconds,
            counts,
            changed: changed.iter().map(|one| one.resource.clone()).collect(),
        };
        let words = match (convergence.converged, changed.len()) {
            (true, 0) => "it changes nothing".to_owned(),
            (true, many) => format!("it changes {many}, all allowed"),
            (false, 0) if counts.changed == 0 => "it managed nothing".to_owned(),
            (false, many) => format!("it changes {}", counts.changed.max(many as u64)),
        };
        let outcome = if convergence.converged { Outcome::Done } else { Outcome::Failed };
        stage.end(outcome, 0, format!("{words}; on {}", described(place)));
        Ok((convergence, changed))
    }

    /// Runs the steps on a copy, and ends it.
    async fn on_copy(
        &self,
        mut copy: Disposable,
        booted: &Booted,
        snapshot: &Snapshot,
    ) -> Result<Ran, BuildError> {
        let ran = match &copy.connected {
            Ok(comm) => {
                let on = On { machine: &*copy.machine, comm: &**comm, shuffle: None };
                self.again(on, Some((booted, snapshot))).await
            }
            // `copy` gives none whose connection failed.
            Err(error) => Err(BuildError::failed(error.to_string())),
        };
        copy.machine.end().await;
        ran
    }

    /// Whether the step is to be run in another order, for which the machine as it is before the step must be kept.
    pub(super) fn shuffles(&self) -> bool {
        self.own().is_some_and(|run| run.spec.converge == Some(Converge::Shuffle))
    }

    /// Keeps what the machine is before the step.
    pub(super) fn remember(&mut self, before: Snapshot) {
        self.before = Some(before);
    }

    /// The step itself, where it is run again.
    fn own(&self) -> Option<&Run<'a>> {
        self.runs.iter().find(|run| run.name == self.step.name)
    }

    /// The seed of the other order.
    fn seed(&self) -> u32 {
        let given = self.own().and_then(|run| run.spec.converge_seed);
        given.unwrap_or_else(|| uuid::Uuid::new_v4().as_fields().0)
    }

    /// Runs the step on a machine that is what this one was before it, its resources in another order; then once more
    /// as they are declared, which must change nothing.
    async fn shuffled(
        &self,
        booted: &Booted,
        before: &Snapshot,
        seed: u32,
    ) -> Result<(), BuildError> {
        let Some(run) = self.own() else { return Ok(()) };
        let which = format!("run in another order, seed {seed}");
        let title = format!("{} ({which})", run.name);
        let stage = self.build.job.events().stage(Stage::Provision, &title);
        stage.status("restoring the machine as it was before the step");
        let Some(mut copy) = self.copy(booted, before, "shuffle").await? else {
            return Err(BuildError::failed(format!(
                "step `{}`: no machine can be made on which it runs in another order",
                run.name
            )));
        };
        let ran = match &copy.connected {
            Ok(comm) => {
                let on = On { machine: &*copy.machine, comm: &**comm, shuffle: Some(seed) };
                self.both_orders(run, &which, on).await
            }
            // `copy` gives none whose connection failed.
            Err(error) => Err(BuildError::failed(error.to_string())),
        };
        copy.machine.end().await;
        let changed = ran.map_err(|error| {
            error.help(format!(
                "a resource needs another one and does not say so; `converge_seed = {seed}` repeats this order"
            ))
        })?;
        let forbidden: Vec<&Changed> = changed.iter().filter(|one| !is_allowed(one)).collect();
        if let Some(first) = forbidden.first() {
            return Err(BuildError::failed(format!(
                "step `{}` ends in another state in another order (seed {seed}): run again as declared, it changed {}, \
                 first {}",
                run.name,
                forbidden.len(),
                first.resource.title()
            )));
        }
        stage.end(Outcome::Done, 0, "it ends in the same state".to_owned());
        Ok(())
    }

    /// Runs a step in another order, and again as it is declared; gives what the latter changed.
    async fn both_orders(
        &self,
        run: &Run<'_>,
        which: &str,
        on: On<'_>,
    ) -> Result<Vec<Changed>, BuildError> {
        self.one(run, which, on, &mut Ran::default()).await?;
        let mut again = Ran::default();
        let declared = On { shuffle: None, ..on };
        self.one(run, "run again as declared", declared, &mut again).await?;
        Ok(again.changed)
    }

    /// What the proof is called.
    fn title(&self) -> String {
        match self.runs.as_slice() {
            [run] => format!("{} (second run)", run.name),
            _ => "all steps (second run)".to_owned(),
        }
    }

    /// Runs the steps on a machine; `copied` tells of what it is a copy.
    async fn again(
        &self,
        on: On<'_>,
        copied: Option<(&Booted, &Snapshot)>,
    ) -> Result<Ran, BuildError> {
        let look = Look { job: self.build.job, comm: on.comm };
        let before =
            if self.compares { Some(self.before(look, copied.is_some()).await?) } else { None };
        let mut ran = Ran::default();
        for run in &self.runs {
            self.one(run, "second run", on, &mut ran).await?;
        }
        if let Some((before, contents)) = before {
            ran.changed.extend(self.compared(look, before, contents, copied).await?);
        }
        Ok(ran)
    }

    /// Runs a step in a machine.
    async fn one(
        &self,
        run: &Run<'_>,
        which: &str,
        on: On<'_>,
        ran: &mut Ran,
    ) -> Result<(), BuildError> {
        let (job, spec, access) = (self.build.job, run.spec, &on.machine.access());
        let name = format!("{} ({which})", run.name);
        let results = run.provisioner.kind().results;
        let recorder = StepRecorder::begin(job, &name, &spec.kind).live(results);
        let (comm, shuffle) = (on.comm, on.shuffle);
        let ended = {
            let context =
                StepContext { job, name: &name, spec, comm, access, recorder: &recorder, shuffle };
            watched(self.build, on.machine, run.provisioner.provision(&context)).await
        };
        let report = recorder.finish(ended.as_ref().err());
        match ended {
            Ok(StepEnd::Running) => {}
            Ok(StepEnd::Restarting) => {
                let words = format!(
                    "step `{}`: its second run restarts the machine: what that changes is not known",
                    run.name
                );
                return Err(BuildError::failed(words)
                    .help("set `converge = \"off\"` for it, or restart in a step of its own"));
            }
            Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let words = format!("step `{}`: its {which} failed: {error}", run.name);
                return Err(BuildError::new(error.kind(), words));
            }
        }
        ran.seconds += report.seconds;
        ran.count(report.counts);
        let changed = |outcome| outcome == ResourceOutcome::Changed;
        for resource in report.resources.into_iter().filter(|one| changed(one.outcome)) {
            ran.changed.push(Changed::reported(run, resource));
        }
        Ok(())
    }

    /// What a machine is before the second run, with the content of all files where no other machine can be asked
    /// for it later.
    async fn before(&self, look: Look<'_>, copied: bool) -> Result<(State, Contents), BuildError> {
        let state = look.state(&self.build.plan.converge.ignored()).await?;
        let contents = if copied {
            Contents::new()
        } else {
            look.contents(&state, state.files.keys()).await?
        };
        Ok((state, contents))
    }

    /// What is not the same after the second run.
    async fn compared(
        &self,
        look: Look<'_>,
        before: State,
        mut contents: Contents,
        copied: Option<(&Booted, &Snapshot)>,
    ) -> Result<Vec<Changed>, BuildError> {
        let after = look.state(&self.build.plan.converge.ignored()).await?;
        let unsure = compare::unsure(&before, &after);
        let now = look.contents(&after, unsure.iter().copied()).await?;
        let mut found = Vec::new();
        match copied {
            // Another copy of the same machine still has what was there before.
            Some((booted, snapshot)) => {
                let Some(mut other) = self.copy(booted, snapshot, "before").await? else {
                    let words = "what the second run changed cannot be compared: no second copy of the machine";
                    return Err(BuildError::failed(words));
                };
                let compared = async {
                    let comm = other
                        .connected
                        .as_ref()
                        .map_err(|error| BuildError::failed(error.to_string()))?;
                    let earlier = Look { job: look.job, comm: &**comm };
                    contents = earlier.contents(&before, unsure.iter().copied()).await?;
                    found = compare::differences((&before, &contents), (&after, &now));
                    compare::add_diffs(&mut found, earlier, look).await
                };
                let compared = compared.await;
                other.machine.end().await;
                compared?;
            }
            None => found = compare::differences((&before, &contents), (&after, &now)),
        }
        if now.contains_key(state::NO_ATTRIBUTES) {
            let words = "extended attributes of files and their capabilities are not compared: the machine has neither \
                         getfattr nor python3 nor GNU tar";
            look.job.events().warn(format!("step `{}`: {words}", self.step.name));
        }
        let compared = |resource| Changed::compared(&self.step.name, &self.runs, resource);
        Ok(found.into_iter().map(compared).collect())
    }

    /// A copy of the machine; none, with a warning, where it cannot be made.
    async fn copy(
        &self,
        booted: &Booted,
        snapshot: &Snapshot,
        name: &str,
    ) -> Result<Option<Disposable>, BuildError> {
        let (job, machine) = (self.build.job, &self.build.plan.machine);
        let arch = self.build.plan.image.arch;
        let request = DisposableRequest {
            job,
            builder: self.build.components.builder(machine)?,
            name,
            arch,
            machine,
            firmware: machine.firmware(arch),
            purpose: Purpose::Build,
            user: &booted.seed.user,
        };
        let why = match Disposable::start(request, snapshot).await {
            Ok(copy @ Disposable { connected: Ok(_), .. }) => return Ok(Some(copy)),
            Ok(Disposable { mut machine, connected: Err(error), .. }) => {
                machine.end().await;
                error
            }
            Err(error) => error,
        };
        match why.kind() {
            BuildErrorKind::Machine | BuildErrorKind::Failed => {
                let why = why.to_string();
                let why = why.lines().next().unwrap_or_default();
                let words = format!(
                    "step `{}`: no copy of the machine can be made ({why}); it is run again in place, and the image has \
                     had two runs",
                    self.step.name
                );
                job.events().warn(words);
                Ok(None)
            }
            _ => Err(why),
        }
    }
}

/// What was read of files, by name.
type Contents = std::collections::BTreeMap<state::Name, String>;

/// What the second runs showed.
#[derive(Default)]
struct Ran {
    /// Wall time of the runs alone.
    seconds: f64,
    counts: ResourceCounts,
    changed: Vec<Changed>,
}

impl Ran {
    fn count(&mut self, more: ResourceCounts) {
        self.counts.changed += more.changed;
        self.counts.unchanged += more.unchanged;
        self.counts.failed += more.failed;
        self.counts.skipped += more.skipped;
    }
}

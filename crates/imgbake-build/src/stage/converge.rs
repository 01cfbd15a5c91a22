//! The proof that a step converges in one run: it is run once more on a copy of the machine, where it must
//! change nothing. The machine itself has had one run.

use std::fmt::Write as _;
use std::time::Instant;

use imgbake_comm::Communicator;
use imgbake_types::glob;
use imgbake_types::plan::Step;
use imgbake_types::record::StageRecord;
use imgbake_types::record::step::{Convergence, ProofPlace, Resource, ResourceOutcome};
use imgbake_types::spec::{Converge, ProvisionSpec};
use imgbake_types::{Outcome, Stage};

use super::boot::Booted;
use super::context::Build;
use super::watched::watched;
use crate::{
    BuildError, BuildErrorKind, Disposable, DisposableRequest, Machine, Provisioner, Purpose,
    Snapshot, StepContext, StepEnd, StepRecorder,
};

/// Changed resources that an error names.
const SHOWN: usize = 10;
/// Lines of a diff that an error shows.
const DIFF_LINES: usize = 12;

/// A step whose second run is to be judged.
pub(super) struct Proof<'a> {
    build: Build<'a>,
    step: &'a Step,
    spec: &'a ProvisionSpec,
    provisioner: &'a dyn Provisioner,
}

impl<'a> Proof<'a> {
    /// The proof of a step that is to converge.
    pub(super) fn wanted(
        build: Build<'a>,
        step: &'a Step,
        spec: &'a ProvisionSpec,
    ) -> Result<Option<Self>, BuildError> {
        let provisioner = build.components.provisioner(spec)?;
        let wanted = spec.converge.unwrap_or(provisioner.kind().converge) == Converge::Once;
        Ok(wanted.then_some(Self { build, step, spec, provisioner }))
    }

    /// Runs the step on a copy of the machine, or on the machine itself where no copy can be made.
    ///
    /// # Errors
    /// An interrupt; a second run that cannot be judged.
    async fn run(
        &self,
        booted: &Booted,
        copy: Option<&Snapshot>,
    ) -> Result<Convergence, BuildError> {
        let (build, name) = (self.build, format!("{} (second run)", self.step.name));
        let stage = build.job.events().stage(Stage::Provision, &name);
        let started = Instant::now();
        stage.status("copying the machine");
        let copied = match copy {
            Some(snapshot) => self.copy(booted, snapshot).await?,
            None => None,
        };
        let recorder = StepRecorder::begin(build.job, &name, &self.spec.kind);
        stage.status("running the step again");
        let (place, ended) = if let Some(mut copy) = copied {
            let place = if copy.resumed { ProofPlace::Copy } else { ProofPlace::SecondMachine };
            let ended = match &copy.connected {
                Ok(comm) => self.again(&name, &recorder, &*copy.machine, &**comm).await,
                // `copy` gives none whose connection failed.
                Err(error) => Err(BuildError::failed(error.to_string())),
            };
            copy.machine.end().await;
            (place, ended)
        } else {
            let ended = self.again(&name, &recorder, &*booted.machine, &*booted.comm).await;
            (ProofPlace::InPlace, ended)
        };
        let report = recorder.finish(ended.as_ref().err());
        match ended {
            Ok(StepEnd::Running | StepEnd::Restarting) => {}
            Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
            Err(error) => {
                let words = format!("step `{}`: its second run failed: {error}", self.step.name);
                return Err(BuildError::new(error.kind(), words));
            }
        }
        let is_changed = |one: &&Resource| one.outcome == ResourceOutcome::Changed;
        let changed: Vec<Resource> = report.resources.iter().filter(is_changed).cloned().collect();
        let forbidden = changed.iter().filter(|one| !self.is_allowed(one)).count();
        // More may have changed than a report lists: none of those is known to be allowed.
        let unlisted = report.counts.changed > changed.len() as u64;
        let convergence = Convergence {
            converged: forbidden == 0 && !unlisted,
            place,
            seconds: started.elapsed().as_secs_f64(),
            run_seconds: report.seconds,
            counts: report.counts,
            changed,
        };
        let (outcome, words) = match (convergence.converged, convergence.changed.len()) {
            (true, 0) => (Outcome::Done, "it changes nothing".to_owned()),
            (true, many) => (Outcome::Done, format!("it changes {many}, all allowed")),
            (false, _) => (Outcome::Failed, format!("it changes {}", convergence.counts.changed)),
        };
        stage.end(outcome, 0, format!("{words}; on {}", described(place)));
        Ok(convergence)
    }

    /// Runs the step in a machine.
    async fn again(
        &self,
        name: &str,
        recorder: &StepRecorder,
        machine: &dyn Machine,
        comm: &dyn Communicator,
    ) -> Result<StepEnd, BuildError> {
        let (job, spec, access) = (self.build.job, self.spec, &machine.access());
        let context = StepContext { job, name, spec, comm, access, recorder };
        watched(self.build, machine, self.provisioner.provision(&context)).await
    }

    /// A copy of the machine; none, with a warning, where it cannot be made.
    async fn copy(
        &self,
        booted: &Booted,
        snapshot: &Snapshot,
    ) -> Result<Option<Disposable>, BuildError> {
        let (job, machine) = (self.build.job, &self.build.plan.machine);
        let arch = self.build.plan.image.arch;
        let request = DisposableRequest {
            job,
            builder: self.build.components.builder(machine)?,
            name: "converge",
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

    /// Runs the step again and judges it; what that showed goes into the step's record.
    pub(super) async fn settle(
        &self,
        record: &mut StageRecord,
        booted: &Booted,
        copy: Option<&Snapshot>,
    ) -> Result<(), BuildError> {
        let convergence = self.run(booted, copy).await?;
        let judged = self.judge(&convergence);
        if let Some(report) = &mut record.report {
            report.convergence = Some(convergence);
        }
        judged
    }

    fn is_allowed(&self, resource: &Resource) -> bool {
        let full = format!("{}[{}]", resource.kind, resource.name);
        self.spec
            .converge_allow
            .iter()
            .any(|pattern| [&full, &resource.name].iter().any(|name| glob::matches(pattern, name)))
    }

    /// The error of a step that did not converge.
    fn judge(&self, convergence: &Convergence) -> Result<(), BuildError> {
        if convergence.converged {
            return Ok(());
        }
        let changed: Vec<&Resource> =
            convergence.changed.iter().filter(|one| !self.is_allowed(one)).collect();
        let count = convergence.counts.changed;
        let mut words = format!(
            "step `{}` does not converge in one run: its second run changed {count} resource{}",
            self.step.name,
            if count == 1 { "" } else { "s" }
        );
        for resource in changed.iter().take(SHOWN) {
            words.push_str(&shown(resource));
        }
        if changed.len() > SHOWN {
            let _ = write!(words, "\n  and {} more", changed.len() - SHOWN);
        }
        Err(BuildError::failed(words).help(
            "let each change only what is not as declared yet; `converge_allow` lists those that may change at every run",
        ))
    }
}

const fn described(place: ProofPlace) -> &'static str {
    match place {
        ProofPlace::Copy => "a copy of the machine",
        ProofPlace::SecondMachine => "a machine booted from its disk",
        ProofPlace::InPlace => "the machine itself",
    }
}

/// A resource with its place and the start of its diff.
fn shown(resource: &Resource) -> String {
    let mut words = format!("\n  {}", resource.title());
    let diff = resource.diff.as_deref().unwrap_or_default();
    for line in diff.lines().take(DIFF_LINES) {
        words.push_str("\n    ");
        words.push_str(line);
    }
    if diff.lines().count() > DIFF_LINES {
        words.push_str("\n    …");
    }
    words
}

//! What changes a machine, and what it writes down meanwhile.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use imgbake_comm::Communicator;
use imgbake_runtime::{Events, Job, Secrets, Tail};
use imgbake_types::event::Stream;
use imgbake_types::record::step::{
    self, OutputTail, Resource, ResourceCounts, ResourceOutcome, StepReport,
};
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind};
use imgbake_types::{EventKind, Outcome, Stage};
use serde::de::DeserializeOwned;

use crate::{Access, BuildError, BuildErrorKind};

/// What a provision step is given.
pub struct StepContext<'a> {
    /// The running job.
    pub job: &'a Job,
    /// The step's name; its output is shown under it.
    pub name: &'a str,
    /// What the template says. Sensitive values are markers: reveal them at the last moment.
    pub spec: &'a ProvisionSpec,
    /// The way into the machine.
    pub comm: &'a dyn Communicator,
    /// How a program of this host reaches it over ssh.
    pub access: &'a Access,
    /// Takes what the step does, as it does it.
    pub recorder: &'a StepRecorder,
    /// The seed of a random order, where the step's resources shall be run in one.
    pub shuffle: Option<u32>,
}

impl StepContext<'_> {
    /// The step's settings as the type of its kind.
    ///
    /// # Errors
    /// They are not as that type wants them.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, BuildError> {
        self.spec.read().map_err(|error| unreadable(self.name, &error))
    }
}

/// The settings of a step are not as its kind wants them.
pub(crate) fn unreadable(name: &str, error: &serde_json::Error) -> BuildError {
    let message = format!("step `{name}`: its settings cannot be read: {error}");
    BuildError::new(BuildErrorKind::Usage, message)
}

/// How a provision step left the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEnd {
    /// Running.
    Running,
    /// Restarting, as the step said it would.
    Restarting,
}

/// Runs one kind of provision step.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// Its kind: its name in templates, and what its steps hold there.
    fn kind(&self) -> ProvisionerKind;

    /// Whether this host can run the step, as far as that can be known before there is a machine.
    ///
    /// # Errors
    /// A program is missing (kind `Lacking`), or what the step names has a mistake.
    async fn check(&self, job: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let _ = (job, name, spec);
        Ok(())
    }

    /// Runs the step; gives how it left the machine. What it does goes to the context's recorder at
    /// once: the call may be dropped at any moment, when the machine panics or the user interrupts, and
    /// what was recorded until then is the step's report.
    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError>;
}

/// Collects a step's report while the step runs. Every text is redacted on its way in.
#[derive(Debug)]
pub struct StepRecorder {
    name: String,
    events: Events,
    secrets: Secrets,
    started: Instant,
    /// Whether each resource is reported as it comes.
    live: bool,
    recorded: Mutex<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    report: StepReport,
    tail: Tail,
}

/// Resources of which a recorder keeps more than their count: a report lists fewer.
const RESOURCES: usize = 20_000;

impl StepRecorder {
    /// A recorder for a step that begins now, of a kind such as `shell`.
    pub fn begin(job: &Job, name: &str, kind: &str) -> Self {
        let report = StepReport {
            format: step::FORMAT,
            kind: kind.to_owned(),
            outcome: Outcome::Done,
            seconds: 0.0,
            bytes: 0,
            attempts: 1,
            exit_code: None,
            counts: ResourceCounts::default(),
            resources: Vec::new(),
            warnings: Vec::new(),
            error: None,
            convergence: None,
            output: OutputTail::default(),
        };
        Self {
            name: name.to_owned(),
            events: job.events().clone(),
            secrets: job.secrets().clone(),
            started: Instant::now(),
            live: false,
            recorded: Mutex::new(Recorded { report, tail: Tail::default() }),
        }
    }

    /// Emits each resource as it comes: one that changed or failed by itself, the others by their count.
    #[must_use]
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// A line of output, redacted already: it is shown and kept.
    pub fn output(&self, stream: Stream, line: &str) {
        self.events.output(&self.name, stream, line);
        self.recorded().tail.push(stream, line.to_owned());
    }

    /// Something the user should know: it is shown and kept.
    pub fn warn(&self, message: &str) {
        let message = self.secrets.redact(message);
        self.events.warn(format!("step `{}`: {message}", self.name));
        self.recorded().report.warnings.push(message);
    }

    /// What was done with a resource.
    pub fn resource(&self, mut resource: Resource) {
        for text in resource.texts() {
            *text = self.secrets.redact(text);
        }
        let shown = resource.clone();
        let counts = {
            let report = &mut self.recorded().report;
            report.counts.add(resource.outcome);
            // What changed or failed is kept beside: a second run is judged by it.
            let first = match resource.outcome {
                ResourceOutcome::Changed | ResourceOutcome::Failed => {
                    report.counts.changed + report.counts.failed <= RESOURCES as u64
                }
                ResourceOutcome::Unchanged | ResourceOutcome::Skipped => false,
            };
            if first || report.resources.len() < RESOURCES {
                report.resources.push(resource);
            }
            report.counts
        };
        if self.live {
            self.emit_resource(shown, counts);
        }
    }

    fn emit_resource(&self, resource: Resource, counts: ResourceCounts) {
        if matches!(resource.outcome, ResourceOutcome::Changed | ResourceOutcome::Failed) {
            let (name, resource) = (self.name.clone(), Box::new(resource));
            self.events.emit(EventKind::Resource { name, resource });
        }
        let (stage, name, status) = (Stage::Provision, self.name.clone(), counts.to_string());
        self.events.emit(EventKind::StageStatus { stage, name, status });
    }

    /// Bytes that were moved between host and machine.
    pub fn moved(&self, bytes: u64) {
        let report = &mut self.recorded().report;
        report.bytes = report.bytes.saturating_add(bytes);
    }

    /// The exit code of the step's command.
    pub fn exit_code(&self, code: i32) {
        self.recorded().report.exit_code = Some(code);
    }

    /// The step is tried again.
    pub fn next_attempt(&self) {
        let report = &mut self.recorded().report;
        report.attempts += 1;
        report.exit_code = None;
    }

    /// Bytes that were moved so far.
    pub fn bytes(&self) -> u64 {
        self.recorded().report.bytes
    }

    /// The report of the step as it ended, emitted as an event.
    pub fn finish(self, error: Option<&BuildError>) -> StepReport {
        let Recorded { mut report, tail } =
            self.recorded.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.seconds = self.started.elapsed().as_secs_f64();
        report.output = tail.into();
        report.error = error.map(|error| self.secrets.redact(&error.to_string()));
        report.outcome = match error {
            Some(_) => Outcome::Failed,
            None if report.warnings.is_empty() => Outcome::Done,
            None => Outcome::Warning,
        };
        let report = report.bound();
        self.events.emit(step_event(&self.name, false, &report));
        report
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event of a step's report; `cached` where the step ran in an earlier build.
pub(crate) fn step_event(name: &str, cached: bool, report: &StepReport) -> EventKind {
    EventKind::StepReport { name: name.to_owned(), cached, report: Box::new(report.clone()) }
}

//! What is known of the jobs so far: the one state that every mode shows.

use std::time::Instant;

use imgbake_types::event::Level;
use imgbake_types::{Event, EventKind, Outcome, Stage};

use crate::text::clean;
use crate::units::count;

/// Every job whose events were seen, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Board {
    jobs: Vec<JobState>,
}

/// Single job.
#[derive(Debug, Default)]
pub(crate) struct JobState {
    pub(crate) name: String,
    /// The image's name; empty for a command that builds none.
    pub(crate) image: String,
    /// When its build began, once it did.
    pub(crate) began: Option<Instant>,
    /// Stages that it will have; 0 while that is not known.
    pub(crate) planned: usize,
    /// Its stages in the order in which they began.
    pub(crate) stages: Vec<StageState>,
    /// What it is doing now.
    pub(crate) doing: Doing,
    /// How its build ended, once it did.
    pub(crate) end: Option<BuildEnd>,
    seal: SealTotals,
}

/// What a job is doing now.
#[derive(Debug, Default)]
pub(crate) enum Doing {
    /// Nothing was reported since the stage began.
    #[default]
    Quiet,
    /// A short message.
    Message(String),
    /// Bytes so far, and in all.
    Bytes(u64, Option<u64>),
}

/// How a build ended.
#[derive(Debug)]
pub(crate) struct BuildEnd {
    pub(crate) outcome: Outcome,
    /// The version with its image's name.
    pub(crate) reference: Option<String>,
    /// The version alone.
    pub(crate) version: String,
    pub(crate) channel: Option<String>,
    pub(crate) stored_bytes: u64,
    pub(crate) seconds: f64,
    /// The error message; empty where there was none.
    pub(crate) error: String,
}

/// Single stage of one job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StageState {
    pub(crate) stage: Stage,
    pub(crate) name: String,
    /// How it ended, once it did.
    pub(crate) end: Option<StageEnd>,
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StageEnd {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    pub(crate) bytes: u64,
    pub(crate) detail: String,
}

#[derive(Debug, Default)]
struct SealTotals {
    operations: u64,
    files: u64,
    bytes: u64,
}

impl StageState {
    /// Its own name, where that is not just the stage's word.
    pub(crate) fn own_name(&self) -> &str {
        if self.name == self.stage.name() { "" } else { &self.name }
    }

    /// The stage's word and its own name.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.stage, self.own_name()).trim_end().to_owned()
    }

    /// Whether its result can be a layer.
    const fn is_layered(&self) -> bool {
        matches!(self.stage, Stage::Source | Stage::Boot | Stage::Provision)
    }
}

impl Board {
    /// Takes an event in; gives the place of the stage it is about, in its job's list.
    pub(crate) fn apply(&mut self, event: &Event) -> Option<usize> {
        let known = self.jobs.iter().position(|job| job.name == event.job);
        let place = known.unwrap_or_else(|| {
            self.jobs.push(JobState { name: event.job.clone(), ..JobState::default() });
            self.jobs.len() - 1
        });
        self.jobs[place].apply(&event.kind)
    }

    /// A job that was seen.
    pub(crate) fn job(&self, name: &str) -> Option<&JobState> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// The jobs that build an image, in the order in which they were announced.
    pub(crate) fn builds(&self) -> impl Iterator<Item = &JobState> {
        self.jobs.iter().filter(|job| !job.image.is_empty())
    }

    /// Whether there is more than one build.
    pub(crate) fn several(&self) -> bool {
        self.builds().nth(1).is_some()
    }

    /// What the lines of a job begin with: its image, once there are several builds.
    pub(crate) fn label(&self, job: &str) -> &str {
        if self.several() { self.job(job).map_or("", |state| &state.image) } else { "" }
    }
}

impl JobState {
    fn apply(&mut self, kind: &EventKind) -> Option<usize> {
        match kind {
            EventKind::StageStarted { stage, name } => {
                self.doing = Doing::Quiet;
                return Some(self.begin(*stage, name));
            }
            EventKind::StageProgress { stage, name, done, total } => {
                self.doing = Doing::Bytes(*done, *total);
                return self.running(*stage, name);
            }
            EventKind::StageStatus { stage, name, status } => {
                self.doing = Doing::Message(clean(status));
                return self.running(*stage, name);
            }
            EventKind::StageFinished { stage, name, outcome, seconds, bytes, detail } => {
                let (outcome, seconds, bytes) = (*outcome, *seconds, *bytes);
                let end = StageEnd { outcome, seconds, bytes, detail: clean(detail) };
                return Some(self.stage_ended(*stage, name, end));
            }
            EventKind::BuildQueued { image, .. } => self.image = clean(image),
            EventKind::BuildStarted { image, stages, .. } => {
                self.image = clean(image);
                self.planned = *stages;
                self.began = Some(Instant::now());
            }
            EventKind::Waiting { what } => {
                self.doing = Doing::Message(format!("waiting for {}", clean(what)));
            }
            EventKind::SealOperation { removed, bytes, .. } => {
                self.seal.operations += 1;
                self.seal.files += removed;
                self.seal.bytes += bytes;
            }
            EventKind::BuildFinished { .. } => self.end = build_end(kind),
            _ => {}
        }
        None
    }

    fn begin(&mut self, stage: Stage, name: &str) -> usize {
        self.stages.push(StageState { stage, name: clean(name), end: None });
        self.stages.len() - 1
    }

    fn running(&self, stage: Stage, name: &str) -> Option<usize> {
        let name = clean(name);
        self.stages.iter().rposition(|s| s.stage == stage && s.name == name && s.end.is_none())
    }

    fn stage_ended(&mut self, stage: Stage, name: &str, mut end: StageEnd) -> usize {
        self.doing = Doing::Quiet;
        let place = self.running(stage, name).unwrap_or_else(|| self.begin(stage, name));
        if stage == Stage::Seal {
            self.seal.complete(&mut end);
        }
        self.stages[place].end = Some(end);
        place
    }

    /// The stage that failed, where one did.
    pub(crate) fn failed(&self) -> Option<&StageState> {
        let failed = |end: &StageEnd| end.outcome == Outcome::Failed;
        self.stages.iter().find(|stage| stage.end.as_ref().is_some_and(failed))
    }

    /// The stage that runs, or between two the one that ended last.
    pub(crate) fn now(&self) -> Option<&StageState> {
        self.stages.iter().rfind(|stage| stage.end.is_none()).or(self.stages.last())
    }

    /// The number of the stage that was reached, from 1; a restore only stands for others.
    pub(crate) fn reached(&self) -> usize {
        self.latest().filter(|stage| stage.stage != Stage::Restore).count().min(self.planned)
    }

    /// Of the steps whose results can be layers, how many were cached, and how many there were.
    pub(crate) fn cached(&self) -> (usize, usize) {
        let cached = |stage: &&StageState| {
            stage.end.as_ref().is_some_and(|end| end.outcome == Outcome::Cached)
        };
        let steps = || self.latest().filter(|stage| stage.is_layered());
        (steps().filter(cached).count(), steps().count())
    }

    /// Its stages, each as it was reported last: one that a fallback ran again counts once.
    fn latest(&self) -> impl Iterator<Item = &StageState> {
        self.stages.iter().enumerate().filter_map(|(place, stage)| {
            let again = |later: &StageState| later.stage == stage.stage && later.name == stage.name;
            (!self.stages[place + 1..].iter().any(again)).then_some(stage)
        })
    }
}

fn build_end(kind: &EventKind) -> Option<BuildEnd> {
    let EventKind::BuildFinished {
        outcome, reference, channel, stored_bytes, seconds, error, ..
    } = kind
    else {
        return None;
    };
    let version = reference.as_ref().and_then(|reference| reference.tag_name());
    Some(BuildEnd {
        outcome: *outcome,
        reference: reference.as_ref().map(ToString::to_string),
        version: version.unwrap_or_default().to_owned(),
        channel: channel.as_deref().map(clean),
        stored_bytes: stored_bytes.unwrap_or_default(),
        seconds: *seconds,
        error: error.as_deref().map(clean).unwrap_or_default(),
    })
}

impl SealTotals {
    /// Fills in what the end of the seal stage does not say itself.
    fn complete(&self, end: &mut StageEnd) {
        if end.detail.is_empty() && self.operations > 0 {
            end.detail =
                format!("{}, {}", count(self.operations, "operation"), count(self.files, "file"));
        }
        if end.bytes == 0 {
            end.bytes = self.bytes;
        }
    }
}

/// The word for a notice's level, where it needs one.
pub(crate) const fn level_word(level: Level) -> &'static str {
    match level {
        Level::Info => "note",
        Level::Warning => "warning",
    }
}

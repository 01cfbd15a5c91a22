//! What is known of the jobs so far: the one state that every mode shows.

use std::collections::BTreeMap;

use imgbake_types::event::Level;
use imgbake_types::{Event, EventKind, Outcome, Stage};

use crate::text::clean;
use crate::units::count;

/// Every job whose events were seen, by its name.
#[derive(Debug, Default)]
pub(crate) struct Board {
    jobs: BTreeMap<String, JobState>,
}

/// One job.
#[derive(Debug, Default)]
pub(crate) struct JobState {
    /// The image's name; empty for a command that builds none.
    pub(crate) image: String,
    /// Its stages in the order in which they began.
    pub(crate) stages: Vec<StageState>,
    seal: SealTotals,
}

/// One stage of one job.
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
}

impl Board {
    /// Takes an event in; gives the place of the stage it is about, in its job's list.
    pub(crate) fn apply(&mut self, event: &Event) -> Option<usize> {
        let job = self.jobs.entry(event.job.clone()).or_default();
        match &event.kind {
            EventKind::BuildStarted { image, .. } => {
                job.image = clean(image);
                None
            }
            EventKind::StageStarted { stage, name } => Some(job.begin(*stage, name)),
            EventKind::StageProgress { stage, name, .. }
            | EventKind::StageStatus { stage, name, .. } => job.running(*stage, name),
            EventKind::StageFinished { stage, name, outcome, seconds, bytes, detail } => {
                let index = job.running(*stage, name).unwrap_or_else(|| job.begin(*stage, name));
                let mut end = StageEnd {
                    outcome: *outcome,
                    seconds: *seconds,
                    bytes: *bytes,
                    detail: clean(detail),
                };
                if *stage == Stage::Seal {
                    job.seal.complete(&mut end);
                }
                job.stages[index].end = Some(end);
                Some(index)
            }
            EventKind::SealOperation { removed, bytes, .. } => {
                job.seal.operations += 1;
                job.seal.files += removed;
                job.seal.bytes += bytes;
                None
            }
            _ => None,
        }
    }

    /// A job that was seen.
    pub(crate) fn job(&self, name: &str) -> Option<&JobState> {
        self.jobs.get(name)
    }

    /// What tells a job's lines from another's: its image, once there are several jobs.
    pub(crate) fn label(&self, job: &str) -> &str {
        if self.jobs.len() < 2 { "" } else { self.jobs.get(job).map_or("", |state| &state.image) }
    }
}

impl JobState {
    fn begin(&mut self, stage: Stage, name: &str) -> usize {
        self.stages.push(StageState { stage, name: clean(name), end: None });
        self.stages.len() - 1
    }

    fn running(&self, stage: Stage, name: &str) -> Option<usize> {
        let name = clean(name);
        self.stages.iter().rposition(|s| s.stage == stage && s.name == name && s.end.is_none())
    }

    /// The stage that failed, where one did.
    pub(crate) fn failed(&self) -> Option<&StageState> {
        let failed = |end: &StageEnd| end.outcome == Outcome::Failed;
        self.stages.iter().find(|stage| stage.end.as_ref().is_some_and(failed))
    }
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

//! Reading records: of builds that ended, that were killed, and that run.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::record::TestOutcome;
use imgbake_types::record::build::{BuildResult, BuildStart, FORMAT, OutputHeader, RecordedLine};
use imgbake_types::{Event, EventKind, Outcome, Stage, StepReport};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files::{EVENTS, OUTPUT, RESULT, START, is_id};
use super::output::older;
use crate::error::io_at;
use crate::{Home, RuntimeError};

/// The largest document that is read, in bytes.
const MOST: u64 = 4 << 20;

/// A build's record, as far as its two small documents show.
#[derive(Debug, Clone)]
pub struct StoredBuild {
    id: String,
    dir: Utf8PathBuf,
    modified: Timestamp,
    start: Result<BuildStart, String>,
    result: Option<BuildResult>,
    runs: bool,
}

/// How a build is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// It runs.
    Running,
    /// It ended without saying how: it was killed, or the host went down.
    Killed,
    /// It ended.
    Ended(Outcome),
}

impl BuildState {
    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Ended(Outcome::Done) => "done",
            Self::Ended(Outcome::Cached) => "cached",
            Self::Ended(Outcome::Warning) => "warning",
            Self::Ended(Outcome::Skipped) => "skipped",
            Self::Ended(Outcome::Failed) => "failed",
        }
    }
}

/// One stage of a build, as its events show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoggedStage {
    /// Which.
    pub stage: Stage,
    /// Its name.
    pub name: String,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Bytes that it made or moved.
    pub bytes: u64,
    /// A few words.
    pub detail: String,
    /// What a provision step did; a cached one when it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<StepReport>,
}

/// One output of a build: a step's, a test's or a console's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedOutput {
    /// The step's, test's or machine's name.
    pub name: String,
    /// Whether it is a machine's console.
    pub console: bool,
    /// Lines before these, which are not kept.
    pub omitted: u64,
    /// The lines.
    pub lines: Vec<RecordedLine>,
}

/// Every record of a home, the newest first. One that is damaged is listed like the others.
pub fn list(home: &Home) -> Result<Vec<StoredBuild>, RuntimeError> {
    let dir = home.builds();
    let entries = match dir.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_at("read the folder", &dir))?,
    };
    let mut builds: Vec<StoredBuild> = entries
        .flatten()
        .filter(|entry| is_id(entry.file_name()) && entry.path().is_dir())
        .map(|entry| StoredBuild::read(home, entry.file_name(), entry.path()))
        .collect();
    builds.sort_by(|a, b| b.started().cmp(&a.started()).then_with(|| a.id.cmp(&b.id)));
    Ok(builds)
}

/// Whether a build's journal is there: it runs, was killed just now, or its machine is kept.
pub(super) fn has_journal(home: &Home, id: &str) -> bool {
    home.journal().join(format!("{id}.jsonl")).exists()
}

/// Whether a process has a build's journal locked.
fn runs(home: &Home, id: &str) -> bool {
    let journal = File::open(home.journal().join(format!("{id}.jsonl")));
    journal.is_ok_and(|file| file.try_lock_shared().is_err())
}

impl StoredBuild {
    fn read(home: &Home, id: &str, dir: &Utf8Path) -> Self {
        // In this order: a build that ends meanwhile is one or the other.
        let runs = runs(home, id);
        let modified = dir.metadata().and_then(|metadata| metadata.modified());
        let modified = modified.unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            id: id.to_owned(),
            dir: dir.to_owned(),
            modified: Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH),
            start: document(&dir.join(START)),
            result: document(&dir.join(RESULT)).ok(),
            runs,
        }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What was begun, or why that cannot be read.
    pub fn start(&self) -> Result<&BuildStart, &str> {
        self.start.as_ref().map_err(String::as_str)
    }

    /// When it was begun; of a damaged record, when it was changed last.
    pub fn started(&self) -> Timestamp {
        self.start.as_ref().map_or(self.modified, |start| start.started)
    }

    /// How it ended, if it did and said so.
    pub fn result(&self) -> Option<&BuildResult> {
        self.result.as_ref()
    }

    /// How it is now.
    pub fn state(&self) -> BuildState {
        match &self.result {
            Some(result) => BuildState::Ended(result.outcome),
            None if self.runs => BuildState::Running,
            None => BuildState::Killed,
        }
    }

    /// Its stages in the order in which they began. An event that is cut or that this imgbake does
    /// not know is left out.
    pub fn stages(&self) -> Result<Vec<LoggedStage>, RuntimeError> {
        let path = self.dir.join(EVENTS);
        let events = lines(&path).map_err(io_at("read", &path))?;
        let mut stages = Vec::new();
        for event in events.filter_map(|line| serde_json::from_slice::<Event>(&line).ok()) {
            apply(&mut stages, event.kind);
        }
        Ok(stages)
    }

    /// The results of its checks and tests, in their order.
    pub fn tests(&self) -> Result<Vec<TestOutcome>, RuntimeError> {
        let path = self.dir.join(EVENTS);
        let events = lines(&path).map_err(io_at("read", &path))?;
        let events = events.filter_map(|line| serde_json::from_slice::<Event>(&line).ok());
        let result = |event: Event| match event.kind {
            EventKind::TestFinished { result } => Some(result),
            _ => None,
        };
        Ok(events.filter_map(result).collect())
    }

    /// Its outputs in the order in which they began.
    pub fn outputs(&self) -> Result<Vec<LoggedOutput>, RuntimeError> {
        let dir = self.dir.join(OUTPUT);
        let entries = dir.read_dir_utf8().map_err(io_at("read the folder", &dir))?;
        let mut paths: Vec<Utf8PathBuf> = entries
            .flatten()
            .map(|entry| entry.path().to_owned())
            .filter(|path| !path.as_str().ends_with(".old.jsonl"))
            .collect();
        paths.sort();
        Ok(paths.iter().filter_map(|path| output(path).ok().flatten()).collect())
    }
}

/// Takes an event into the stages so far.
fn apply(stages: &mut Vec<LoggedStage>, kind: EventKind) {
    match kind {
        EventKind::StageStarted { stage, name } => stages.push(LoggedStage::begun(stage, name)),
        EventKind::StageFinished { stage, name, outcome, seconds, bytes, detail } => {
            let logged = running(stages, stage, &name);
            logged.outcome = Some(outcome);
            (logged.seconds, logged.bytes, logged.detail) = (seconds, bytes, detail);
        }
        EventKind::StepReport { name, report, .. } => {
            let step = stages
                .iter_mut()
                .rfind(|logged| logged.stage == Stage::Provision && logged.name == name);
            if let Some(step) = step {
                step.report = Some(*report);
            }
        }
        _ => {}
    }
}

/// The stage of that name which has not ended; a cached one has no beginning.
fn running<'a>(stages: &'a mut Vec<LoggedStage>, stage: Stage, name: &str) -> &'a mut LoggedStage {
    let known = stages.iter().rposition(|logged| {
        logged.stage == stage && logged.name == name && logged.outcome.is_none()
    });
    let place = known.unwrap_or_else(|| {
        stages.push(LoggedStage::begun(stage, name.to_owned()));
        stages.len() - 1
    });
    &mut stages[place]
}

impl LoggedStage {
    fn begun(stage: Stage, name: String) -> Self {
        let detail = String::new();
        Self { stage, name, outcome: None, seconds: 0.0, bytes: 0, detail, report: None }
    }
}

/// Reads an output's two files; `None` where even its header is not there.
fn output(path: &Utf8Path) -> io::Result<Option<LoggedOutput>> {
    let mut current = lines(path)?;
    let header = current.next().and_then(|line| serde_json::from_slice(&line).ok());
    let Some(OutputHeader { name, console, .. }) = header else { return Ok(None) };
    let before = lines(&older(path)).ok();
    let before = before.into_iter().flat_map(|lines| lines.skip(1));
    let recorded: Vec<RecordedLine> =
        before.chain(current).filter_map(|line| serde_json::from_slice(&line).ok()).collect();
    let omitted = recorded.first().map_or(0, |line| line.number.saturating_sub(1));
    Ok(Some(LoggedOutput { name, console, omitted, lines: recorded }))
}

fn lines(path: &Utf8Path) -> io::Result<impl Iterator<Item = Vec<u8>> + use<>> {
    Ok(BufReader::new(File::open(path)?).split(b'\n').map_while(Result::ok))
}

/// Reads a document, unless it is damaged or needs a newer imgbake.
fn document<T: DeserializeOwned>(path: &Utf8Path) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read {path}: {error}"))?;
    let invalid = |error| format!("{path} is damaged: {error}");
    let Format { format } = serde_json::from_str(&text).map_err(invalid)?;
    if format > FORMAT {
        return Err(format!("{path} has format {format}: it needs a newer imgbake"));
    }
    serde_json::from_str(&text).map_err(invalid)
}

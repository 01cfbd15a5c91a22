//! Writing a build's record, event by event.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::event::Stream;
use imgbake_types::record::build::{BuildResult, BuildStart, FORMAT, OutputHeader, StageName};
use imgbake_types::{Event, EventKind, Outcome};

use super::files::{EVENTS, OUTPUT, RESULT, START, slug};
use super::output::{Output, json_line};

/// Bytes of events that are kept, whatever they are.
const EVENT_BYTES: u64 = 4 << 20;
/// Bytes of events that are kept in all: beyond [`EVENT_BYTES`], of ends and results alone.
const MOST_EVENT_BYTES: u64 = 16 << 20;
/// Outputs that a record keeps: each step, test and machine has one.
const OUTPUTS: usize = 64;

/// A record that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    dir: Utf8PathBuf,
    events: File,
    event_bytes: u64,
    outputs: BTreeMap<(bool, String), Output>,
    failed: Option<StageName>,
}

impl Writer {
    pub(super) fn begin(dir: &Utf8Path, start: &BuildStart) -> io::Result<Self> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700).create(dir.join(OUTPUT))?;
        let events = File::create_new(dir.join(EVENTS))?;
        let writer = Self {
            dir: dir.to_owned(),
            events,
            event_bytes: 0,
            outputs: BTreeMap::new(),
            failed: None,
        };
        writer.document(START, start)?;
        Ok(writer)
    }

    pub(super) fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Writes a document, whole or not at all.
    pub(super) fn document(&self, name: &str, value: &impl serde::Serialize) -> io::Result<()> {
        let (path, part) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        fs::write(&part, json_line(value)?)?;
        fs::rename(part, path)
    }

    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        match &event.kind {
            EventKind::Output { name, stream, line } => return self.output(name, *stream, line),
            EventKind::StageProgress { .. } => return Ok(()),
            EventKind::StageFinished { stage, name, outcome, .. } => {
                self.stage_ended(&StageName { stage: *stage, name: name.clone() }, *outcome);
            }
            _ => {}
        }
        let line = json_line(event)?;
        let room = if is_result(&event.kind) { MOST_EVENT_BYTES } else { EVENT_BYTES };
        if self.event_bytes + line.len() as u64 <= room {
            self.event_bytes += line.len() as u64;
            self.events.write_all(&line)?;
        }
        match self.result(event) {
            Some(result) => self.document(RESULT, &result),
            None => Ok(()),
        }
    }

    /// Remembers the stage that failed, unless it succeeds when it is tried again.
    fn stage_ended(&mut self, stage: &StageName, outcome: Outcome) {
        if outcome == Outcome::Failed {
            self.failed = Some(stage.clone());
        } else if self.failed.as_ref() == Some(stage) {
            self.failed = None;
        }
    }

    fn output(&mut self, name: &str, stream: Stream, line: &str) -> io::Result<()> {
        let key = (stream == Stream::Console, name.to_owned());
        if !self.outputs.contains_key(&key) {
            let number = self.outputs.len() + 1;
            if number > OUTPUTS {
                return Ok(());
            }
            let file = format!("{number:02}-{}.jsonl", slug(name));
            let header = OutputHeader { format: FORMAT, name: name.to_owned(), console: key.0 };
            let output = Output::begin(self.dir.join(OUTPUT).join(file), header)?;
            self.outputs.insert(key.clone(), output);
        }
        match self.outputs.get_mut(&key) {
            Some(output) => output.line(stream, line),
            None => Ok(()),
        }
    }

    fn result(&self, event: &Event) -> Option<BuildResult> {
        let EventKind::BuildFinished {
            outcome, reference, digest, channel, seconds, error, ..
        } = &event.kind
        else {
            return None;
        };
        Some(BuildResult {
            format: FORMAT,
            outcome: *outcome,
            ended: event.time,
            seconds: *seconds,
            reference: reference.clone(),
            digest: digest.clone(),
            channel: channel.clone(),
            error: error.clone(),
            failed: self.failed.clone().filter(|_| *outcome == Outcome::Failed),
        })
    }
}

/// Whether an event says how something ended.
const fn is_result(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::StageFinished { .. }
            | EventKind::StepReport { .. }
            | EventKind::TestFinished { .. }
            | EventKind::BuildFinished { .. }
    )
}

//! Telling what happens: each event is redacted, then sent in order to one listener.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use imgbake_types::event::{Level, Stream};
use imgbake_types::record::StageRecord;
use imgbake_types::{Event, EventKind, Outcome, Plan, Stage};

use crate::Secrets;
use crate::builds::BuildRecord;
use crate::queue::{EventReceiver, EventSender, queue};
use crate::secrets::masked;

/// Where a job's events go. Clones go to the same listener.
#[derive(Debug, Clone)]
pub struct Events {
    job: Arc<str>,
    sender: EventSender,
    secrets: Secrets,
    record: Arc<OnceLock<BuildRecord>>,
}

impl Events {
    /// A stream for a job, and its listener's end.
    pub fn channel(job: &str, secrets: Secrets) -> (Self, EventReceiver) {
        let (sender, receiver) = queue();
        (Self::to(sender, job, secrets), receiver)
    }

    /// A stream for one more job of a listener.
    pub fn to(sender: EventSender, job: &str, secrets: Secrets) -> Self {
        Self { job: job.into(), sender, secrets, record: Arc::default() }
    }

    /// Keeps every later event in a build's record as well, at once: before any listener has it.
    pub fn record_in(&self, record: BuildRecord) {
        // A job has one record.
        let _ = self.record.set(record);
    }

    /// Keeps the build's plan in its record, where it has one.
    pub fn record_plan(&self, plan: &Plan) {
        let warning = self.record.get().and_then(|record| record.plan(plan));
        if let Some(warning) = warning {
            self.warn(warning);
        }
    }

    /// Shows one thing. A listener that has gone is no error.
    pub fn emit(&self, kind: EventKind) {
        let kind = self.redacted(kind);
        let event = Event { time: jiff::Timestamp::now(), job: self.job.to_string(), kind };
        let warning = self.record.get().and_then(|record| record.event(&event));
        self.sender.send(event);
        if let Some(warning) = warning {
            // The record takes no more: this goes to the listener alone.
            self.warn(warning);
        }
    }

    /// Something good to know.
    pub fn info(&self, message: impl Into<String>) {
        self.emit(EventKind::Notice { level: Level::Info, message: message.into() });
    }

    /// Something to be looked at.
    pub fn warn(&self, message: impl Into<String>) {
        self.emit(EventKind::Notice { level: Level::Warning, message: message.into() });
    }

    /// A line of output.
    pub fn output(&self, name: &str, stream: Stream, line: impl Into<String>) {
        self.emit(EventKind::Output { name: name.to_owned(), stream, line: line.into() });
    }

    /// Begins a stage.
    pub fn stage(&self, stage: Stage, name: &str) -> StageGuard {
        self.emit(EventKind::StageStarted { stage, name: name.to_owned() });
        StageGuard {
            events: self.clone(),
            stage,
            name: name.to_owned(),
            started: Instant::now(),
            reported: Mutex::new(None),
            ended: false,
        }
    }

    fn redacted(&self, mut kind: EventKind) -> EventKind {
        if !self.secrets.is_empty() {
            for text in kind.texts() {
                let spans = self.secrets.spans(text.as_bytes());
                if !spans.is_empty() {
                    *text = masked(text.as_bytes(), &spans);
                }
            }
        }
        kind
    }
}

/// A stage that runs. Dropped before [`StageGuard::finish`], it shows that the stage failed.
#[derive(Debug)]
pub struct StageGuard {
    events: Events,
    stage: Stage,
    name: String,
    started: Instant,
    reported: Mutex<Option<Instant>>,
    ended: bool,
}

/// Progress is reported at most ten times a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

impl StageGuard {
    /// Shows how far it is, in bytes.
    pub fn progress(&self, done: u64, total: Option<u64>) {
        let mut reported = self.reported.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if reported.is_some_and(|last| last.elapsed() < PROGRESS_EVERY) {
            return;
        }
        *reported = Some(Instant::now());
        self.events.emit(EventKind::StageProgress {
            stage: self.stage,
            name: self.name.clone(),
            done,
            total,
        });
    }

    /// Shows what it is doing now.
    pub fn status(&self, status: impl Into<String>) {
        self.events.emit(EventKind::StageStatus {
            stage: self.stage,
            name: self.name.clone(),
            status: status.into(),
        });
    }

    /// Ends it well; gives what to write down of it.
    pub fn finish(self, bytes: u64, detail: impl Into<String>) -> StageRecord {
        self.end(Outcome::Done, bytes, detail.into())
    }

    /// Ends it in any way; gives what to write down of it.
    pub fn end(mut self, outcome: Outcome, bytes: u64, detail: String) -> StageRecord {
        self.ended = true;
        self.tell_end(outcome, bytes, detail)
    }

    fn tell_end(&self, outcome: Outcome, bytes: u64, detail: String) -> StageRecord {
        let seconds = self.started.elapsed().as_secs_f64();
        self.events.emit(EventKind::StageFinished {
            stage: self.stage,
            name: self.name.clone(),
            outcome,
            seconds,
            bytes,
            detail,
        });
        StageRecord::ran(self.stage, self.name.clone(), seconds, bytes)
    }
}

impl Drop for StageGuard {
    fn drop(&mut self) {
        if !self.ended {
            self.tell_end(Outcome::Failed, 0, String::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use imgbake_types::record::TestOutcome;

    use super::*;

    #[test]
    fn redacts_texts_and_leaves_structure() {
        let secrets = Secrets::default();
        for word in ["done", "output", "shell", "stdout", "verify-1", "token-9fH2kPq81"] {
            secrets.add(word, word);
        }
        let (events, mut listener) = Events::channel("job", secrets);
        let said = "token-9fH2kPq81 is done".to_owned();
        events.output("shell", Stream::Stdout, said.clone());
        let result = TestOutcome {
            name: "shell".into(),
            machine: "verify-1".into(),
            passed: false,
            seconds: 0.0,
            detail: said,
        };
        events.emit(EventKind::TestFinished { result });
        drop(events);
        let mut reported = Vec::new();
        while let Some(event) = listener.blocking_recv() {
            reported.push(serde_json::to_value(&event).unwrap());
        }
        assert_eq!(reported[0]["type"], "output");
        assert_eq!(
            (&reported[0]["name"], &reported[0]["stream"]),
            (&"shell".into(), &"stdout".into())
        );
        assert_eq!(reported[0]["line"], "*** is ***");
        assert_eq!(reported[1]["result"]["machine"], "verify-1");
        assert_eq!(reported[1]["result"]["detail"], "*** is ***");
    }
}

//! What happens in a stage, each after so many milliseconds.

use imgbake_types::event::Stream;
use imgbake_types::{EventKind, Outcome, Stage};

pub(super) fn start(stage: Stage, name: &str) -> (u64, EventKind) {
    (100, EventKind::StageStarted { stage, name: name.into() })
}

pub(super) fn status(stage: Stage, name: &str, status: &str) -> (u64, EventKind) {
    (300, EventKind::StageStatus { stage, name: name.into(), status: status.into() })
}

pub(super) fn end(
    stage: Stage,
    name: &str,
    seconds: f64,
    bytes: u64,
    detail: &str,
) -> (u64, EventKind) {
    let (name, detail) = (name.to_owned(), detail.to_owned());
    (300, EventKind::StageFinished { stage, name, outcome: Outcome::Done, seconds, bytes, detail })
}

pub(super) fn progress(stage: Stage, total: u64) -> impl Iterator<Item = (u64, EventKind)> {
    (1..=20).map(move |part| {
        let name = stage.name().to_owned();
        (80, EventKind::StageProgress { stage, name, done: total / 20 * part, total: Some(total) })
    })
}

pub(super) fn output(name: &str, line: &str) -> (u64, EventKind) {
    let (name, line) = (name.to_owned(), line.to_owned());
    (120, EventKind::Output { name, stream: Stream::Stdout, line })
}

pub(super) fn finish(stage: Stage, name: &str, outcome: Outcome, detail: &str) -> (u64, EventKind) {
    let (name, detail) = (name.to_owned(), detail.to_owned());
    (500, EventKind::StageFinished { stage, name, outcome, seconds: 12.0, bytes: 0, detail })
}

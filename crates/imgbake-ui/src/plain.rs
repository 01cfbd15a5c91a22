//! Lines for logs and pipes: whole words, no control codes, nothing cut.

use std::fmt::Write as _;

use imgbake_types::event::Level;
use imgbake_types::record::TestOutcome;
use imgbake_types::{Event, EventKind, Outcome};

use crate::board::{Board, StageEnd, StageState, level_word};
use crate::paint::{Paint, Tone};
use crate::summary;
use crate::table::{Align, Cell, Table};
use crate::text::clean;
use crate::units::{count, human_bytes, human_seconds, some_bytes};

/// The lines for an event, in order. `stage` is the stage it is about.
pub(crate) fn lines(
    board: &Board,
    event: &Event,
    stage: Option<usize>,
    verbose: bool,
    paint: Paint,
) -> Vec<String> {
    let job = board.job(&event.job);
    let stage = stage.and_then(|index| job?.stages.get(index));
    let plain = match &event.kind {
        EventKind::BuildStarted { template, image, plan, stages } => vec![format!(
            "building {} from {} (plan {}, {})",
            clean(image),
            clean(template.as_str()),
            plan.short(),
            count(*stages as u64, "stage")
        )],
        EventKind::StageStarted { .. } => {
            stage.map(|stage| format!("{}: started", stage.title())).into_iter().collect()
        }
        EventKind::StageStatus { status, .. } if verbose => {
            stage.map(|stage| format!("{}: {}", stage.title(), clean(status))).into_iter().collect()
        }
        EventKind::StageFinished { .. } => stage
            .and_then(|stage| stage.end.as_ref().map(|end| ended(stage, end, paint)))
            .into_iter()
            .collect(),
        EventKind::Output { name, line, .. } => {
            let who = paint.dim(&format!("{} |", clean(name)));
            vec![format!("{who} {}", clean(line)).trim_end().to_owned()]
        }
        EventKind::SealOperation { .. } if verbose => vec![seal_operation(&event.kind)],
        EventKind::TestFinished { result } => test(result, paint),
        EventKind::Machine { machine, what } => {
            vec![format!("machine {}: {}", clean(machine), clean(what))]
        }
        EventKind::Notice { level, message } => {
            let tone = if *level == Level::Warning { Tone::Warn } else { Tone::Normal };
            vec![paint.tone(tone, &format!("{}: {}", level_word(*level), clean(message)))]
        }
        EventKind::ChannelMoved { channel, version, digest } => {
            vec![format!("{channel} is now {} ({})", clean(version), digest.short())]
        }
        EventKind::Waiting { what } => vec![format!("waiting for {}", clean(what))],
        EventKind::BuildFinished { .. } => return finished(board, event, paint),
        EventKind::BuildQueued { .. }
        | EventKind::StageProgress { .. }
        | EventKind::StageStatus { .. }
        | EventKind::SealOperation { .. }
        | EventKind::Layer { .. } => Vec::new(),
    };
    match board.label(&event.job) {
        "" => plain,
        label => plain.into_iter().map(|line| format!("[{label}] {line}")).collect(),
    }
}

/// An outcome's word and tone.
const fn word(outcome: Outcome) -> (&'static str, Tone) {
    match outcome {
        Outcome::Done => ("done", Tone::Good),
        Outcome::Cached => ("cached", Tone::Good),
        Outcome::Warning => ("warning", Tone::Warn),
        Outcome::Skipped => ("skipped", Tone::Dim),
        Outcome::Failed => ("failed", Tone::Bad),
    }
}

fn ended(stage: &StageState, end: &StageEnd, paint: Paint) -> String {
    let (word, tone) = word(end.outcome);
    let mut parts = vec![format!("{} in {}", paint.tone(tone, word), human_seconds(end.seconds))];
    if end.bytes > 0 {
        parts.push(human_bytes(end.bytes));
    }
    if !end.detail.is_empty() {
        parts.push(end.detail.clone());
    }
    format!("{}: {}", stage.title(), parts.join(", "))
}

fn test(result: &TestOutcome, paint: Paint) -> Vec<String> {
    let (word, tone) = if result.passed { ("passed", Tone::Good) } else { ("failed", Tone::Bad) };
    let machine = clean(&result.machine);
    let on = if machine.is_empty() { String::new() } else { format!(" on {machine}") };
    let seconds = human_seconds(result.seconds);
    let mut lines =
        vec![format!("test {}{on}: {} in {seconds}", clean(&result.name), paint.tone(tone, word))];
    if !result.passed {
        lines.extend(result.detail.lines().map(|line| format!("  {}", clean(line))));
    }
    lines
}

/// One seal operation, with a few of its paths.
pub(crate) fn seal_operation(kind: &EventKind) -> String {
    let EventKind::SealOperation { operation, removed, bytes, paths } = kind else {
        return String::new();
    };
    let mut line =
        format!("seal {}: {}, {}", clean(operation), count(*removed, "file"), human_bytes(*bytes));
    if !paths.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| clean(path)).collect();
        let _ = write!(line, " ({})", paths.join(", "));
    }
    line
}

fn finished(board: &Board, event: &Event, paint: Paint) -> Vec<String> {
    let Some(job) = board.job(&event.job) else { return Vec::new() };
    if let Some(line) = summary::failure(&event.kind, job, paint) {
        return vec![line];
    }
    let EventKind::BuildFinished { seconds, .. } = &event.kind else { return Vec::new() };
    let mut table = Table::without_header([Align::Left, Align::Left, Align::Right, Align::Right]);
    for stage in &job.stages {
        if let Some(end) = &stage.end {
            let (word, tone) = word(end.outcome);
            table.row([
                Cell::from(stage.title()),
                Cell::toned(tone, word),
                Cell::from(human_seconds(end.seconds)),
                Cell::from(some_bytes(end.bytes)),
                Cell::toned(Tone::Dim, &end.detail),
            ]);
        }
    }
    table.row(["total".to_owned(), String::new(), human_seconds(*seconds)]);
    let mut text = format!("\n{}", table.render(paint));
    let facts = summary::facts(&event.kind, paint);
    if !facts.is_empty() {
        let _ = write!(text, "\n{facts}");
    }
    let next = summary::next(&event.kind);
    if !next.is_empty() {
        let _ = write!(text, "\nNext:\n  {}", next.join("\n  "));
    }
    text.trim_end().lines().map(str::to_owned).collect()
}

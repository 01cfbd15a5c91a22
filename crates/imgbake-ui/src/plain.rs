//! Lines for logs and pipes: whole messages, no control codes, nothing cut.

use std::fmt::Write as _;

use imgbake_types::event::Level;
use imgbake_types::record::TestOutcome;
use imgbake_types::{Event, EventKind, Outcome};

use crate::board::{Board, JobState, StageState, level_word};
use crate::lines::{mark, word};
use crate::messages;
use crate::paint::{Paint, Tone};
use crate::summary;
use crate::table::{Align, Cell, Table};
use crate::text::clean;
use crate::units::{count, human_seconds, some_bytes};

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
        EventKind::StageFinished { .. } => {
            stage.and_then(|stage| ended(stage, paint)).into_iter().collect()
        }
        EventKind::Output { name, line, .. } => {
            let who = paint.dim(&format!("{} |", clean(name)));
            vec![format!("{who} {}", clean(line)).trim_end().to_owned()]
        }
        EventKind::SealOperation { .. } if verbose => vec![messages::seal_operation(&event.kind)],
        EventKind::StepReport { .. } if verbose => {
            messages::step_report(&event.kind).into_iter().collect()
        }
        EventKind::Resource { .. } => messages::resource(&event.kind, verbose)
            .map(|(outcome, message)| {
                let tone = if outcome == Outcome::Failed { Tone::Bad } else { Tone::Normal };
                message.lines().map(|line| paint.tone(tone, line)).collect()
            })
            .unwrap_or_default(),
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
        EventKind::Layer { .. } => messages::layer(&event.kind, verbose)
            .map(|message| layer(message, paint))
            .into_iter()
            .collect(),
        // These name their image themselves.
        EventKind::BuildQueued { template, image, after } => {
            return vec![queued(template.as_str(), image, after)];
        }
        EventKind::BuildFinished { .. } => return finished(board, event, verbose, paint),
        EventKind::StageProgress { .. }
        | EventKind::StageStatus { .. }
        | EventKind::SealOperation { .. }
        | EventKind::StepReport { .. } => Vec::new(),
    };
    match board.label(&event.job) {
        "" => plain,
        label => plain.into_iter().map(|line| format!("[{label}] {line}")).collect(),
    }
}

fn queued(template: &str, image: &str, after: &[String]) -> String {
    let mut line = format!("queued {} from {}", clean(image), clean(template));
    if !after.is_empty() {
        let after: Vec<String> = after.iter().map(|image| clean(image)).collect();
        let _ = write!(line, ", after {}", after.join(", "));
    }
    line
}

fn ended(stage: &StageState, paint: Paint) -> Option<String> {
    let end = stage.end.as_ref()?;
    let (word, tone) = word(end.outcome);
    Some(format!("{}: {}", stage.title(), messages::stage_end(end, &paint.tone(tone, word))))
}

fn layer((outcome, message): (Outcome, String), paint: Paint) -> String {
    let tone = if outcome == Outcome::Warning { Tone::Warn } else { Tone::Normal };
    paint.tone(tone, &message)
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

fn finished(board: &Board, event: &Event, verbose: bool, paint: Paint) -> Vec<String> {
    let Some(job) = board.job(&event.job) else { return Vec::new() };
    let Some((outcome, message)) = messages::closing(job) else { return Vec::new() };
    let (mark, tone) = mark(outcome);
    let line = paint.tone(tone, &format!("{mark} {message}"));
    match (summary::has_report(outcome), board.several()) {
        (true, false) => report(job, &event.kind, paint),
        (true, true) if verbose => {
            std::iter::once(line).chain(report(job, &event.kind, paint)).collect()
        }
        _ => vec![line],
    }
}

/// The final table of a build.
fn report(job: &JobState, kind: &EventKind, paint: Paint) -> Vec<String> {
    let mut table = Table::without_header([Align::Left, Align::Left, Align::Right, Align::Right]);
    for stage in &job.stages {
        if let Some(end) = &stage.end {
            let (word, tone) = word(end.outcome);
            let timed = end.outcome != Outcome::Cached || messages::took_time(end.seconds);
            table.row([
                Cell::from(stage.title()),
                Cell::toned(tone, word),
                Cell::from(if timed { human_seconds(end.seconds) } else { String::new() }),
                Cell::from(some_bytes(end.bytes)),
                Cell::toned(Tone::Dim, &end.detail),
            ]);
        }
    }
    let total = job.end.as_ref().map(|end| human_seconds(end.seconds)).unwrap_or_default();
    table.row(["total".to_owned(), String::new(), total]);
    let mut text = format!("\n{}", table.render(paint));
    let facts = summary::facts(kind, paint);
    if !facts.is_empty() {
        let _ = write!(text, "\n{facts}");
    }
    let next = summary::next(kind);
    if !next.is_empty() {
        let _ = write!(text, "\nNext:\n  {}", next.join("\n  "));
    }
    text.trim_end().lines().map(str::to_owned).collect()
}

//! The lines that scroll by above the bars.

use imgbake_types::event::Level;
use imgbake_types::{Event, EventKind, Outcome};

use crate::board::{Board, StageState};
use crate::lines::{Look, word};
use crate::messages;
use crate::text::{clean, cut_middle, width};
use crate::units::count;

/// The lines of an event, `verbose` with all details. `stage` is the stage it is about. Of several
/// builds the moving lines show most, so that less scrolls by.
pub(crate) fn scrolled_lines(
    look: Look,
    board: &Board,
    event: &Event,
    stage: Option<usize>,
    verbose: bool,
) -> Vec<String> {
    let label = board.label(&event.job);
    let several = board.several();
    match &event.kind {
        EventKind::BuildStarted { .. } if !several => header(look, &event.kind),
        EventKind::StageFinished { .. } if several => {
            let stage = stage.and_then(|place| board.job(&event.job)?.stages.get(place));
            stage.and_then(|stage| stage_line(look, label, stage, verbose)).into_iter().collect()
        }
        EventKind::Output { name, line, .. } => vec![look.output(label, name, line)],
        EventKind::SealOperation { .. } if verbose => {
            vec![look.remark(Outcome::Skipped, label, &messages::seal_operation(&event.kind))]
        }
        EventKind::StepReport { .. } if verbose => messages::step_report(&event.kind)
            .map(|message| look.remark(Outcome::Skipped, label, &message))
            .into_iter()
            .collect(),
        EventKind::Resource { .. } => messages::resource(&event.kind, verbose)
            .filter(|(outcome, _)| !several || verbose || *outcome == Outcome::Failed)
            .map(|(outcome, message)| resource(look, label, outcome, &message))
            .into_iter()
            .flatten()
            .collect(),
        EventKind::TestFinished { result } if !several || verbose || !result.passed => {
            vec![look.test(label, result)]
        }
        EventKind::Machine { machine, what } => {
            vec![look.remark(Outcome::Warning, label, &format!("{machine}: {what}"))]
        }
        EventKind::Layer { .. } => messages::layer(&event.kind, verbose)
            .map(|(outcome, message)| look.remark(outcome, label, &message))
            .into_iter()
            .collect(),
        EventKind::Notice { level, message } => {
            let outcome =
                if *level == Level::Warning { Outcome::Warning } else { Outcome::Skipped };
            vec![look.remark(outcome, label, message)]
        }
        EventKind::ChannelMoved { channel, version, .. } if !several || verbose => {
            vec![look.remark(Outcome::Skipped, "", &format!("{channel} is now {version}"))]
        }
        _ => Vec::new(),
    }
}

/// A resource's line, and those of its diff.
fn resource(look: Look, label: &str, outcome: Outcome, message: &str) -> Vec<String> {
    let mut lines = message.lines();
    let first = lines.next().map(|line| look.remark(outcome, label, line));
    first.into_iter().chain(lines.map(str::to_owned)).collect()
}

/// The title of a single build. The path gives way to the screen's width.
fn header(look: Look, kind: &EventKind) -> Vec<String> {
    let EventKind::BuildStarted { template, image, plan, stages } = kind else {
        return Vec::new();
    };
    let image = clean(image);
    let rest = format!(", plan {}, {}", plan.short(), count(*stages as u64, "stage"));
    let columns = look.width.saturating_sub(width(&image) + 2 + width(&rest));
    let rest = cut_middle(&clean(template.as_str()), columns.max(8)) + &rest;
    vec![format!("{}  {}", look.paint.strong(&image), look.paint.dim(&rest)), String::new()]
}

/// The end of a stage of one of several builds: always where there is something to be read.
fn stage_line(look: Look, label: &str, stage: &StageState, verbose: bool) -> Option<String> {
    let end = stage.end.as_ref()?;
    let severe = end.outcome == Outcome::Warning;
    if !severe && !verbose {
        return None;
    }
    let message = messages::stage_end(end, word(end.outcome).0);
    let outcome = if severe { Outcome::Warning } else { Outcome::Skipped };
    Some(look.remark(outcome, label, &format!("{}: {message}", stage.title())))
}

//! The messages that are the same in every mode.

use std::fmt::Write as _;

use imgbake_types::event::LayerAction;
use imgbake_types::record::step::ResourceOutcome;
use imgbake_types::time::rough;
use imgbake_types::{EventKind, Outcome};

use crate::board::{JobState, StageEnd, StageState};
use crate::text::clean;
use crate::units::{count, human_bytes, human_seconds};

/// Single seal operation, with a few of its paths.
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

/// What a provision step did, for who wants details; `None` where there is nothing to say.
pub(crate) fn step_report(kind: &EventKind) -> Option<String> {
    let EventKind::StepReport { name, cached, report } = kind else { return None };
    let summary = report.summary();
    let when = if *cached { " when it ran" } else { "" };
    (!summary.is_empty()).then(|| format!("step {}: {}{when}", clean(name), clean(&summary)))
}

/// A resource that changed or failed, and how severe that is; `verbose` with its diff.
pub(crate) fn resource(kind: &EventKind, verbose: bool) -> Option<(Outcome, String)> {
    let EventKind::Resource { name, resource } = kind else { return None };
    let (outcome, word) = match resource.outcome {
        ResourceOutcome::Failed => (Outcome::Failed, "failed"),
        ResourceOutcome::Changed => (Outcome::Skipped, "changed"),
        ResourceOutcome::Unchanged | ResourceOutcome::Skipped => return None,
    };
    let mut message = format!("{}: {word} {}", clean(name), clean(&resource.title()));
    for line in resource.diff.as_deref().filter(|_| verbose).unwrap_or_default().lines() {
        let _ = write!(message, "\n    {}", clean(line));
    }
    Some((outcome, message))
}

/// What was done with a layer, and how severe that is. A fallback is always reported, the rest only to
/// who wants details; what was restored or booted, a stage reports.
pub(crate) fn layer(kind: &EventKind, verbose: bool) -> Option<(Outcome, String)> {
    let EventKind::Layer { name, action, disk_bytes, state_bytes, age, reason, .. } = kind else {
        return None;
    };
    let mut message = format!("layer of `{}` ", clean(name));
    let mut facts = Vec::new();
    match action {
        LayerAction::Refused => {
            let _ = write!(message, "not used: {}", clean(reason));
            return Some((Outcome::Warning, message));
        }
        LayerAction::Saved if verbose => message.push_str("saved"),
        LayerAction::Used if verbose => {
            message.push_str("used");
            facts.push(format!("{} old", rough(*age)));
        }
        LayerAction::Saved | LayerAction::Used | LayerAction::Restored | LayerAction::Booted => {
            return None;
        }
    }
    let sizes = [(*disk_bytes, "disk"), (*state_bytes, "state")];
    for (bytes, of) in sizes.into_iter().filter(|(bytes, _)| *bytes > 0) {
        facts.push(format!("{} {of}", human_bytes(bytes)));
    }
    facts.extend((!reason.is_empty()).then(|| clean(reason)));
    if !facts.is_empty() {
        let _ = write!(message, ": {}", facts.join(", "));
    }
    Some((Outcome::Skipped, message))
}

/// How a stage ended, without its name. `word` is the outcome's name, painted or not.
pub(crate) fn stage_end(end: &StageEnd, word: &str) -> String {
    let mut parts = Vec::new();
    if end.outcome == Outcome::Cached && !took_time(end.seconds) {
        parts.push(word.to_owned());
    } else {
        parts.push(format!("{word} in {}", human_seconds(end.seconds)));
    }
    if end.bytes > 0 && end.outcome != Outcome::Cached {
        parts.push(human_bytes(end.bytes));
    }
    if !end.detail.is_empty() {
        parts.push(end.detail.clone());
    }
    parts.join(", ")
}

/// Whether a time would be shown as more than nothing.
pub(crate) fn took_time(seconds: f64) -> bool {
    seconds >= 0.05
}

/// The one line that reports a build's end. The message of a failure comes from the command.
pub(crate) fn closing(job: &JobState) -> Option<(Outcome, String)> {
    let end = job.end.as_ref()?;
    let image = if job.image.is_empty() { "the build" } else { &job.image };
    let name = end.reference.as_deref().unwrap_or(image);
    let after = format!("after {}", human_seconds(end.seconds));
    let message = match end.outcome {
        Outcome::Failed => format!("{image} {} {after}", failed_at(job.failed())),
        Outcome::Skipped if end.error.is_empty() => format!("{image} was not started"),
        Outcome::Skipped => format!("{image} was not started: {}", end.error),
        Outcome::Cached => format!("already built: {name} has this plan"),
        Outcome::Done | Outcome::Warning => match &end.channel {
            Some(channel) => format!("{name} {after}, channel {channel}"),
            None => format!("{name} {after}"),
        },
    };
    Some((end.outcome, message))
}

/// Where a build failed.
pub(crate) fn failed_at(stage: Option<&StageState>) -> String {
    stage.map_or_else(|| "failed".to_owned(), |stage| format!("failed at {}", stage.title()))
}

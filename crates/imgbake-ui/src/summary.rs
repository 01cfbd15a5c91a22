//! The end of a build: what was made and what to try next; and the results of several.

use imgbake_types::{EventKind, Outcome, Reference};

use crate::board::{Board, JobState};
use crate::lines::{Look, word};
use crate::paint::{Paint, Tone};
use crate::table::{Align, Cell, Table};
use crate::units::{human_bytes, human_seconds, some_bytes};

/// The image made, as label and value pairs. Nothing if none was published.
pub(crate) fn facts(kind: &EventKind, paint: Paint) -> String {
    let EventKind::BuildFinished {
        reference: Some(reference),
        digest,
        channel,
        virtual_size,
        stored_bytes,
        ..
    } = kind
    else {
        return String::new();
    };
    let mut facts = vec![(
        "image",
        match channel {
            Some(channel) => format!("{reference}, channel {channel}"),
            None => reference.to_string(),
        },
    )];
    if let Some(size) = virtual_size {
        let stored =
            stored_bytes.map_or_else(String::new, |s| format!(", {} stored", human_bytes(s)));
        facts.push(("disk", format!("{}{stored}", human_bytes(*size))));
    }
    if let Some(digest) = digest {
        facts.push(("digest", digest.to_string()));
    }
    Table::facts(facts).render(paint)
}

/// Commands to try with the image made. Nothing after a failure.
pub(crate) fn next(kind: &EventKind) -> Vec<String> {
    let EventKind::BuildFinished { outcome, reference: Some(reference), channel, .. } = kind else {
        return Vec::new();
    };
    if *outcome == Outcome::Failed {
        return vec![format!("imgbake show {reference}")];
    }
    let named = |channel: &String| {
        Reference { target: None, ..reference.clone() }.to_string() + ":" + channel
    };
    let best = channel.as_ref().map_or_else(|| reference.to_string(), named);
    let mut commands =
        vec![format!("imgbake show {reference}"), format!("imgbake pull {best} -o disk.qcow2")];
    let to = match channel.as_deref() {
        None => Some("dev"),
        Some("dev") => Some("staging"),
        Some("prod") => None,
        Some(_) => Some("prod"),
    };
    commands.extend(to.map(|to| format!("imgbake promote {best} --to {to}")));
    commands
}

/// Whether a build's end is reported by a table of its stages; any other takes one line.
pub(crate) const fn has_report(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::Warning)
}

/// A build's stages, its image and what to try next, on a terminal.
pub(crate) fn report(look: Look, job: &JobState, kind: &EventKind) -> Vec<String> {
    let mut lines: Vec<String> = job
        .stages
        .iter()
        .filter_map(|stage| Some(look.stage(stage, stage.end.as_ref()?)))
        .collect();
    lines.extend(job.end.as_ref().map(|end| look.total(end.seconds)));
    let facts = facts(kind, look.paint);
    if !facts.is_empty() {
        lines.push(String::new());
        lines.extend(facts.lines().map(str::to_owned));
    }
    let next = next(kind);
    if !next.is_empty() {
        lines.extend([String::new(), look.paint.dim("Next:")]);
        lines.extend(next.iter().map(|command| format!("  {command}")));
    }
    lines
}

/// The results of several builds, in a width if there is one.
pub(crate) fn results(board: &Board, paint: Paint, width: Option<usize>) -> String {
    let mut table = Table::new([
        ("image", Align::Left),
        ("result", Align::Left),
        ("version", Align::Left),
        ("channel", Align::Left),
        ("time", Align::Right),
        ("cached", Align::Right),
        ("stored", Align::Right),
    ]);
    for job in board.builds() {
        table.row(result(job));
    }
    if let Some(width) = width {
        table.fit(width, 0);
    }
    table.render(paint)
}

fn result(job: &JobState) -> Vec<Cell> {
    let image = Cell::from(job.image.as_str());
    let Some(end) = &job.end else {
        let state = if job.began.is_some() { "not ended" } else { "not started" };
        return vec![image, Cell::toned(Tone::Warn, state)];
    };
    let (word, tone) = word(end.outcome);
    let time =
        if end.outcome == Outcome::Skipped { String::new() } else { human_seconds(end.seconds) };
    let cached = match job.cached() {
        (_, 0) => String::new(),
        (cached, steps) => format!("{cached}/{steps}"),
    };
    vec![
        image,
        Cell::toned(tone, word),
        Cell::from(end.version.as_str()),
        Cell::from(end.channel.as_deref().unwrap_or_default()),
        Cell::from(time),
        Cell::from(cached),
        Cell::from(some_bytes(end.stored_bytes)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(outcome: Outcome, channel: Option<&str>) -> EventKind {
        EventKind::BuildFinished {
            outcome,
            reference: Some(Reference::tag("web", "2026.11.23-1")),
            digest: None,
            channel: channel.map(str::to_owned),
            virtual_size: None,
            stored_bytes: None,
            seconds: 1.0,
            error: None,
        }
    }

    #[test]
    fn the_next_commands_suit_the_channel() {
        for (channel, last) in [
            (None, "imgbake promote web:2026.11.23-1 --to dev"),
            (Some("dev"), "imgbake promote web:dev --to staging"),
            (Some("staging"), "imgbake promote web:staging --to prod"),
            (Some("prod"), "imgbake pull web:prod -o disk.qcow2"),
        ] {
            let commands = next(&finished(Outcome::Done, channel));
            assert_eq!(commands.last().map(String::as_str), Some(last));
        }
        assert_eq!(next(&finished(Outcome::Failed, None)), ["imgbake show web:2026.11.23-1"]);
    }
}

//! The end of a build: what was made and what to try next.

use imgbake_types::{EventKind, Outcome, Reference};

use crate::board::JobState;
use crate::lines::mark;
use crate::paint::Paint;
use crate::table::Table;
use crate::units::{human_bytes, human_seconds};

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

/// The one line that says that a build failed; the error's own words come from the command.
pub(crate) fn failure(kind: &EventKind, job: &JobState, paint: Paint) -> Option<String> {
    let EventKind::BuildFinished { outcome: Outcome::Failed, seconds, .. } = kind else {
        return None;
    };
    let image = if job.image.is_empty() { "the build" } else { &job.image };
    let place = job.failed().map_or_else(String::new, |stage| format!(" at {}", stage.title()));
    let (mark, tone) = mark(Outcome::Failed);
    let words = format!("{mark} {image} failed{place} after {}", human_seconds(*seconds));
    Some(paint.tone(tone, &words))
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

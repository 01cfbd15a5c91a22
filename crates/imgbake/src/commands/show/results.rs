//! `imgbake show REFERENCE --results`

use std::fmt::Write as _;

use imgbake_types::StepReport;
use imgbake_types::record::step::{Resource, ResourceOutcome};
use imgbake_types::record::{StageRecord, VersionView};
use imgbake_ui::{Align, Cell, Table, Tone, clean, count, human_seconds};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;

/// A step and what it did.
#[derive(Serialize)]
struct Step<'a> {
    name: &'a str,
    #[serde(flatten)]
    report: &'a StepReport,
}

/// Prints the resources of every step that reported some.
pub(super) fn print(app: &App, version: &VersionView, json: bool) -> Result<(), Failure> {
    let steps: Vec<Step<'_>> = version.stages.iter().filter_map(step).collect();
    if json {
        return app.print_json(&steps);
    }
    let paint = app.paint();
    let mut text = String::new();
    for Step { name, report } in &steps {
        let title =
            format!("{} ({}): {}", clean(name), clean(&report.kind), clean(&report.summary()));
        let _ =
            writeln!(text, "{}{}", if text.is_empty() { "" } else { "\n" }, paint.strong(&title));
        if !report.resources.is_empty() {
            text.push_str(&table(&report.resources).render(paint));
        }
        let unlisted = report.counts.total().saturating_sub(report.resources.len() as u64);
        if unlisted > 0 {
            let _ = writeln!(text, "… and {}", count(unlisted, "more resource"));
        }
        if let Some(proof) = report.convergence.as_ref().filter(|proof| !proof.changed.is_empty()) {
            let _ = writeln!(text, "its second run changed, as the template allows:");
            text.push_str(&table(&proof.changed).render(paint));
        }
    }
    if steps.is_empty() {
        text.push_str("no step of this version reported the resources that it managed\n");
    }
    app.print(&text)
}

fn step(stage: &StageRecord) -> Option<Step<'_>> {
    let reported = |report: &&StepReport| report.counts.total() > 0 || report.convergence.is_some();
    let report = stage.report.as_ref().filter(reported)?;
    Some(Step { name: &stage.name, report })
}

fn table(resources: &[Resource]) -> Table {
    let mut table = Table::new([
        ("result", Align::Left),
        ("type", Align::Left),
        ("name", Align::Left),
        ("time", Align::Right),
        ("declared in", Align::Left),
        ("", Align::Left),
    ]);
    for resource in resources {
        let (word, tone) = match resource.outcome {
            ResourceOutcome::Changed => ("changed", Tone::Good),
            ResourceOutcome::Unchanged => ("unchanged", Tone::Dim),
            ResourceOutcome::Failed => ("failed", Tone::Bad),
            ResourceOutcome::Skipped => ("skipped", Tone::Dim),
        };
        let place = match (&resource.file, resource.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (Some(file), None) => file.clone(),
            (None, _) => String::new(),
        };
        let message = resource.message.as_deref().and_then(|message| message.lines().next());
        table.row([
            Cell::toned(tone, word),
            Cell::from(resource.kind.as_str()),
            Cell::from(resource.name.as_str()),
            Cell::from(resource.seconds.map(human_seconds).unwrap_or_default()),
            Cell::from(place),
            Cell::from(message.unwrap_or_default()),
        ]);
    }
    table
}

//! `imgbake gc`

use imgbake_registry::{GcReport, GcRequest, VersionCost};
use imgbake_types::Span;
use imgbake_ui::{Align, Cell, Table, Tone, count, human_bytes};
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::failure::Failure;
use crate::rooms;

/// Drops what the rules let go, and what nothing needs.
pub(super) async fn run(app: &App, dry_run: bool, grace: Span, json: bool) -> Result<(), Failure> {
    let grace = SignedDuration::try_from(grace.duration())
        .map_err(|_| Failure::usage(format!("--grace {grace} is too long")))?;
    let retention = app.config.retention.clone();
    let request = GcRequest { retention, grace, dry_run, now: Timestamp::now() };
    let report = rooms::layout(&app.home)?.gc(request).await?;
    if json {
        return app.print_json(&report);
    }
    if dry_run || report.versions.iter().any(|version| !version.kept) {
        app.print(&table(&report).render(app.paint()))?;
    }
    app.print(&summary(&report))
}

fn table(report: &GcReport) -> Table {
    let mut table = Table::new([
        ("version", Align::Left),
        ("", Align::Left),
        ("needs", Align::Right),
        ("alone", Align::Right),
        ("why", Align::Left),
    ]);
    // What goes stands alone; what stays is shown where the user asked what each version costs.
    let shown = |version: &&VersionCost| report.dry_run || !version.kept;
    for version in report.versions.iter().filter(shown) {
        let fate = if version.kept {
            Cell::toned(Tone::Good, "stays")
        } else {
            Cell::toned(Tone::Bad, "goes")
        };
        table.row([
            Cell::toned(Tone::Strong, format!("{}:{}", version.name, version.version)),
            fate,
            Cell::from(human_bytes(version.bytes)),
            Cell::from(human_bytes(version.own_bytes)),
            Cell::toned(Tone::Dim, version.reason.clone()),
        ]);
    }
    table
}

fn summary(report: &GcReport) -> String {
    let verb = if report.dry_run { "would be deleted" } else { "deleted" };
    format!(
        "{}, of which {} stay\n{verb}: {}, {}; waiting for the grace period's end: {}, {}\n\
         what stays needs {}\n",
        count(report.versions.len() as u64, "version"),
        report.versions.iter().filter(|version| version.kept).count(),
        count(report.deleted_blobs as u64, "blob"),
        human_bytes(report.deleted_bytes),
        count(report.waiting_blobs as u64, "blob"),
        human_bytes(report.waiting_bytes),
        human_bytes(report.kept_bytes)
    )
}

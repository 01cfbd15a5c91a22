//! `imgbake gc`

use imgbake_registry::{Clock, GcReport, GcRequest, VersionCost};
use imgbake_runtime::builds;
use imgbake_types::Span;
use imgbake_ui::{Align, Cell, Table, Tone, count, human_bytes};
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::components;
use crate::failure::Failure;

/// Deletes the versions that no rule keeps, and unreachable blobs.
pub(super) async fn run(
    app: &App,
    dry_run: bool,
    grace: Span,
    trust_clock: bool,
    json: bool,
) -> Result<(), Failure> {
    let grace = SignedDuration::try_from(grace.duration())
        .map_err(|_| Failure::usage(format!("--grace {grace} is too long")))?;
    let retention = app.config.retention.clone();
    let clock = if trust_clock { None } else { Clock::read() };
    let request = GcRequest { retention, grace, dry_run, now: Timestamp::now(), clock };
    let report = components::layout(&app.home)?.gc(request).await?;
    if !dry_run {
        builds::sweep(&app.home, app.config.builds, Timestamp::now())?;
    }
    if json {
        return app.print_json(&report);
    }
    if dry_run || report.versions.iter().any(|version| !version.kept) {
        app.print(&table(&report).render(app.paint()))?;
    }
    app.print(&summary(&report))?;
    for why in &report.blocked_by {
        app.note(&format!("no blob is deleted while a document cannot be read: {why}"));
    }
    app.print(&dead(&report))
}

fn table(report: &GcReport) -> Table {
    let mut table = Table::new([
        ("version", Align::Left),
        ("", Align::Left),
        ("total", Align::Right),
        ("unique", Align::Right),
        ("unreclaimed", Align::Right),
        ("why", Align::Left),
    ]);
    // What goes stands alone; what stays is shown where the user asked what each version costs.
    let shown = |version: &&VersionCost| report.dry_run || !version.kept;
    for version in report.versions.iter().filter(shown) {
        let fate = if version.kept {
            Cell::toned(Tone::Good, "kept")
        } else {
            Cell::toned(Tone::Bad, "deleted")
        };
        table.row([
            Cell::toned(Tone::Strong, format!("{}:{}", version.name, version.version)),
            fate,
            Cell::from(human_bytes(version.bytes)),
            Cell::from(human_bytes(version.own_bytes)),
            Cell::from(version.dead_bytes.map(human_bytes).unwrap_or_default()),
            Cell::toned(Tone::Dim, version.reason.clone()),
        ]);
    }
    table
}

fn summary(report: &GcReport) -> String {
    let verb = if report.dry_run { "would be deleted" } else { "deleted" };
    format!(
        "keeping {} of {}\n{verb}: {}, {}; within the grace period: {}, {}\n\
         kept in all: {}\n",
        report.versions.iter().filter(|version| version.kept).count(),
        count(report.versions.len() as u64, "version"),
        count(report.deleted_blobs as u64, "blob"),
        human_bytes(report.deleted_bytes),
        count(report.waiting_blobs as u64, "blob"),
        human_bytes(report.waiting_bytes),
        human_bytes(report.kept_bytes)
    )
}

/// How many versions are named that keep dead bytes.
const NAMED: usize = 3;

/// Bytes of packs that no version uses, and which versions keep most of them.
fn dead(report: &GcReport) -> String {
    let Some(bytes) = report.dead_bytes.filter(|bytes| *bytes > 0) else { return String::new() };
    let mut keepers: Vec<(u64, &VersionCost)> = report
        .versions
        .iter()
        .filter_map(|version| Some((version.dead_bytes.filter(|dead| *dead > 0)?, version)))
        .collect();
    keepers.sort_by_key(|(dead, _)| std::cmp::Reverse(*dead));
    let named: Vec<String> = keepers
        .iter()
        .take(NAMED)
        .map(|(_, version)| format!("{}:{}", version.name, version.version))
        .collect();
    let more = match keepers.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "of that, unreclaimed: {}, chunks of deleted versions in packs that other versions use\n\
         they are reclaimed with the last version that uses their pack; used by {}{more}\n",
        human_bytes(bytes),
        named.join(", ")
    )
}

//! `imgbake images`

use imgbake_types::record::VerifyStatus;
use imgbake_ui::{Align, Cell, Table, Tone, human_bytes};

use crate::app::App;
use crate::failure::Failure;
use crate::rooms;

/// Lists versions and channels.
pub(super) async fn run(app: &App, name: Option<&str>, json: bool) -> Result<(), Failure> {
    let versions = rooms::registry(&app.home)?.versions(name).await?;
    if json {
        return app.print_json(&versions);
    }
    if versions.is_empty() {
        app.note("there are no versions yet; `imgbake build TEMPLATE` makes the first");
        return Ok(());
    }
    let mut table = Table::new([
        ("name", Align::Left),
        ("version", Align::Left),
        ("channels", Align::Left),
        ("verify", Align::Left),
        ("disk", Align::Right),
        ("stored", Align::Right),
        ("created (UTC)", Align::Left),
        ("digest", Align::Left),
    ]);
    for version in versions {
        table.row([
            Cell::from(version.name.clone()),
            Cell::toned(Tone::Strong, version.version.as_str()),
            Cell::from(version.channels.join(" ")),
            status(version.verify.status),
            Cell::from(human_bytes(version.disk.virtual_size)),
            Cell::from(human_bytes(version.disk.stored_bytes)),
            Cell::toned(Tone::Dim, version.created.strftime("%Y-%m-%d %H:%M").to_string()),
            Cell::toned(Tone::Dim, version.digest.short()),
        ]);
    }
    app.print(&table.render(app.paint()))
}

/// A verify status in its colour.
pub(super) fn status(status: VerifyStatus) -> Cell {
    match status {
        VerifyStatus::Passed => Cell::toned(Tone::Good, "passed"),
        VerifyStatus::Failed => Cell::toned(Tone::Bad, "failed"),
        VerifyStatus::Unverified => Cell::toned(Tone::Dim, "unverified"),
    }
}

//! `imgbake history`

use imgbake_types::Reference;
use imgbake_ui::{Align, Cell, Table, Tone};

use crate::app::App;
use crate::failure::Failure;
use crate::rooms;

/// Lists a channel's moves, newest first.
pub(super) async fn run(app: &App, reference: &Reference, json: bool) -> Result<(), Failure> {
    let channel = reference.tag_name().ok_or_else(|| {
        Failure::usage(format!(
            "`{reference}` names no channel: give NAME:CHANNEL, such as {}:prod",
            reference.name
        ))
    })?;
    let moves = rooms::registry(&app.home)?.history(&reference.name, channel).await?;
    if json {
        return app.print_json(&moves);
    }
    let mut table = Table::new([
        ("when (UTC)", Align::Left),
        ("version", Align::Left),
        ("digest", Align::Left),
        ("from", Align::Left),
        ("by", Align::Left),
        ("who", Align::Left),
        ("reason", Align::Left),
    ]);
    for entry in moves {
        let by = match &entry.source {
            Some(source) => format!("{} {source}", entry.action),
            None => entry.action.clone(),
        };
        table.row([
            Cell::toned(Tone::Dim, entry.time.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            Cell::toned(Tone::Strong, entry.to.version.as_str()),
            Cell::toned(Tone::Dim, entry.to.digest.short()),
            Cell::from(entry.from.map_or_else(|| "-".to_owned(), |from| from.version.to_string())),
            Cell::from(by),
            Cell::from(entry.who),
            Cell::from(entry.reason.unwrap_or_default()),
        ]);
    }
    app.print(&table.render(app.paint()))
}

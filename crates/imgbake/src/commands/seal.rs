//! `imgbake seal --list`

use imgbake_build::Sealer;
use imgbake_seal::{GuestSealer, LEFT};
use imgbake_ui::{Align, Cell, Table, Tone};
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;

/// What `--json` prints.
#[derive(Serialize)]
struct Listed {
    operations: Vec<Operation>,
    left: [&'static str; LEFT.len()],
}

#[derive(Serialize)]
struct Operation {
    name: &'static str,
    about: &'static str,
    default: bool,
}

/// Lists the operations, and what stays.
pub(super) fn run(app: &App, json: bool) -> Result<(), Failure> {
    let sealer = GuestSealer::new();
    let operations: Vec<Operation> = sealer
        .operations()
        .iter()
        .map(|one| Operation { name: one.name, about: one.about, default: one.default })
        .collect();
    if json {
        return app.print_json(&Listed { operations, left: LEFT });
    }
    let mut table =
        Table::new([("operation", Align::Left), ("runs", Align::Left), ("removes", Align::Left)]);
    for one in &operations {
        let runs = if one.default { "unless in `skip`" } else { "if in `also`" };
        table.row([
            Cell::toned(Tone::Strong, one.name),
            Cell::toned(Tone::Dim, runs),
            Cell::from(one.about),
        ]);
    }
    app.print(&table.render(app.paint()))?;
    app.print("\nWhat stays:\n")?;
    LEFT.iter().try_for_each(|what| app.print(&format!("  {what}\n")))
}

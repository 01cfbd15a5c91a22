//! `imgbake converge`: proves that the steps of templates converge in one run, and publishes nothing.

mod proof;
mod report;

use std::time::Instant;

use imgbake_build::stage;

use self::proof::{Document, Proved};
use super::junit;
use super::steps::Steps;
use crate::app::App;
use crate::cli::{ConvergeArgs, ResultsFormat};
use crate::components;
use crate::failure::Failure;
use crate::layers;
use crate::load;

/// Proves every build of some templates, one after another.
pub(super) async fn run(app: &App, args: &ConvergeArgs) -> Result<(), Failure> {
    let units = load::units(app, &args.templates, &args.selection, &args.variables)?;
    app.home.ensure()?;
    let components = components::wire(&app.wiring, &app.home)?;
    let layers = layers::open(app, (None, None))?;
    let listener = app.listen(&args.events, app.config.progress)?;
    let steps =
        Steps { app, components: &components, layers: layers.as_ref(), listener: &listener };
    let mut failed: Option<Failure> = None;
    let mut all = Vec::new();
    for unit in &units {
        if app.cancel.is_cancelled() {
            all.push(Proved::not_started(unit));
            continue;
        }
        let begun = Instant::now();
        let proving = Box::pin(steps.run("converge", unit, stage::prove_convergence));
        let (log, result) = match proving.await {
            Ok(log) => (log, Ok(())),
            Err((log, failure)) => (log, Err(failure)),
        };
        all.push(Proved::ended(unit, begun, log, result.as_ref().err()));
        if let Err(failure) = result {
            let failure = if units.len() == 1 { failure } else { failure.of(&unit.image().name) };
            match &mut failed {
                Some(first) => first.and(failure),
                None => failed = Some(failure),
            }
        }
    }
    let shown = listener.end().await;
    match if args.json { ResultsFormat::Json } else { args.format } {
        ResultsFormat::Table => app.print(&report::table(app.paint(), &all))?,
        ResultsFormat::Json => app.print_json(&Document::new(&all))?,
        ResultsFormat::Junit => app.print(&junit::xml(&report::suites(&all)))?,
    }
    failed.map_or(Ok(()), |failure| Err(failure.interrupted(app.cancel.is_cancelled())))?;
    shown
}

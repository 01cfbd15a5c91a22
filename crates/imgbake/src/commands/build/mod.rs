//! `imgbake build`: one template or many, as one graph.

mod batch;
mod blessed;
mod graph;
mod report;
mod rescue;
mod single;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use imgbake_build::Components;
use imgbake_runtime::{Job, builds};
use jiff::Timestamp;
use tokio::sync::watch;

use super::export::{Durable, Output};
use super::plan;
use crate::app::{App, Listener};
use crate::cli::BuildArgs;
use crate::components;
use crate::failure::Failure;
use crate::load::{self, Unit};
use batch::Batch;
use graph::Graph;

/// How far a build is, for those that are based on its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Running,
    Good,
    Bad,
}

/// Builds every template, in an order in which parents come first.
pub(super) async fn run(app: &App, args: &BuildArgs) -> Result<(), Failure> {
    let units = load::units(app, &args.templates, &args.selection, &args.variables)?;
    if units.len() > 1 && !args.output.is_empty() {
        let words = "--output writes one version's disk, and these are several builds";
        return Err(Failure::usage(words));
    }
    for output in &args.output {
        let found = Output::of(output, Durable::No, false)?;
        found.format(None)?;
        if matches!(&found, Output::Target(target) if target.is_stdout()) {
            let words =
                "standard output has what `build` prints: use `imgbake pull REFERENCE -o -`";
            return Err(Failure::usage(words));
        }
    }
    Output::refuse_same(&args.output)?;
    for path in args.metadata_file.iter().chain(&args.junit) {
        report::check(path)?;
    }
    if let Some(channel) = &args.from_blessed {
        return Box::pin(blessed::run(app, args, &units, channel)).await;
    }
    let graph = Graph::of(&units)?;
    if args.dry_run {
        return plan::show(app, &units, false).await;
    }
    app.home.ensure()?;
    if let Err(error) = builds::sweep(&app.home, app.config.builds, Timestamp::now()) {
        app.note(&format!("records of old builds stay: {error}"));
    }
    let components = components::wire(&app.wiring, &app.home)?;
    let listener = app.listen(&args.events, app.config.progress)?;
    let result = build_all(app, args, &units, &graph, &components, &listener).await;
    let shown = listener.end().await;
    result?;
    shown
}

/// Builds the units, each once those that it needs are done.
async fn build_all(
    app: &App,
    args: &BuildArgs,
    units: &[Unit],
    graph: &Graph,
    components: &Components,
    listener: &Listener,
) -> Result<(), Failure> {
    let parallel = args.parallel.map_or_else(|| graph::room_for(units), usize::from);
    let batch = Batch::new(app, args, components, listener, parallel)?;
    let ends: Vec<watch::Sender<End>> =
        units.iter().map(|_| watch::Sender::new(End::Running)).collect();
    // Every build is announced before the first begins.
    let jobs = units
        .iter()
        .enumerate()
        .map(|(index, unit)| batch.announce(unit, !graph.needs(index).is_empty(), units.len() > 1))
        .collect::<Result<Vec<Job>, _>>()?;
    let mut running: FuturesUnordered<_> = units
        .iter()
        .zip(jobs)
        .enumerate()
        .map(|(index, (unit, job))| {
            let (batch, ends) = (&batch, &ends);
            async move {
                let result = batch.after(unit, job, graph.needs(index), ends).await;
                ends[index].send_replace(if result.is_ok() { End::Good } else { End::Bad });
                (index, result)
            }
        })
        .collect();
    let mut failed: Vec<(usize, Failure)> = Vec::new();
    while let Some((index, result)) = running.next().await {
        if let Err(failure) = result {
            if args.fail_fast && failed.is_empty() {
                batch.cancel.cancel();
            }
            failed.push((index, failure));
        }
    }
    let reports =
        batch.report.write(&app.home, args.metadata_file.as_deref(), args.junit.as_deref());
    let mut failures = failed.into_iter().map(|(index, failure)| {
        if units.len() == 1 { failure } else { failure.of(&units[index].image().name) }
    });
    // What cannot be reported hides no build's own error.
    match failures.next() {
        None => reports.into_iter().next().map_or(Ok(()), Err),
        Some(mut first) => {
            failures.chain(reports).for_each(|failure| first.and(failure));
            Err(first)
        }
    }
}

impl Batch<'_> {
    /// Builds a unit once those whose images it is based on are done.
    async fn after(
        &self,
        unit: &Unit,
        job: Job,
        needs: &[usize],
        ends: &[watch::Sender<End>],
    ) -> Result<(), Failure> {
        let mut stood_on = End::Good;
        for &need in needs {
            let mut end = ends[need].subscribe();
            let ended = end.wait_for(|end| *end != End::Running);
            match job.cancel().run(ended).await {
                Ok(Ok(end)) if *end == End::Good => {}
                Ok(_) => stood_on = End::Bad,
                Err(interrupted) => {
                    let ended = single::Ended::failed(interrupted.into());
                    self.tell_end(unit, &job, &ended, std::time::Instant::now());
                    job.end()?;
                    return ended.result;
                }
            }
        }
        if stood_on == End::Bad {
            let ended = single::Ended::skipped(unit);
            self.tell_end(unit, &job, &ended, std::time::Instant::now());
            job.end()?;
            return ended.result;
        }
        self.build(unit, job).await
    }
}

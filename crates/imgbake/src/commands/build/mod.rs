//! `imgbake build`: one template or many, as one graph.

mod graph;
mod one;
mod rescue;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use imgbake_build::Rooms;
use imgbake_build::cache::LayerCache;
use imgbake_build::stage::Layers;
use imgbake_runtime::{Cancel, Job, Secrets};
use imgbake_types::EventKind;
use tokio::sync::{Semaphore, watch};

use super::export;
use crate::app::{App, Listener};
use crate::cli::{BuildArgs, CacheMode};
use crate::failure::Failure;
use crate::load::{self, Unit};
use crate::rooms;
use graph::Graph;

/// All that the builds of one command share.
struct Batch<'a> {
    app: &'a App,
    args: &'a BuildArgs,
    rooms: &'a Rooms,
    listener: &'a Listener,
    layers: Option<Layers>,
    slots: Semaphore,
    /// Ends all of them.
    cancel: Cancel,
    terminal: tokio::sync::Mutex<()>,
}

/// How far a build is, for those that stand on its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Running,
    Good,
    Bad,
}

/// Builds every template, in an order that lets images stand on each other.
pub(super) async fn run(app: &App, args: &BuildArgs) -> Result<(), Failure> {
    let units = load::units(&app.config, &args.templates, &args.variables)?;
    if units.len() > 1 && !args.output.is_empty() {
        let words = "--output writes one version's disk, and these are several builds";
        return Err(Failure::usage(words));
    }
    for output in &args.output {
        export::format_of(output)?;
    }
    let graph = Graph::of(&units)?;
    app.home.ensure()?;
    let rooms = rooms::rooms(&app.home)?;
    let listener = app.listen(&args.events, app.config.progress)?;
    let result = batch(app, args, &units, &graph, &rooms, &listener).await;
    let shown = listener.end().await;
    result?;
    shown
}

async fn batch(
    app: &App,
    args: &BuildArgs,
    units: &[Unit],
    graph: &Graph,
    rooms: &Rooms,
    listener: &Listener,
) -> Result<(), Failure> {
    let parallel = args.parallel.map_or_else(|| graph::room_for(units), usize::from);
    let batch = Batch {
        app,
        args,
        rooms,
        listener,
        layers: layers(app, args)?,
        slots: Semaphore::new(parallel),
        cancel: app.cancel.child(),
        terminal: tokio::sync::Mutex::new(()),
    };
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
    let mut failures = failed.into_iter().map(|(index, failure)| {
        if units.len() == 1 { failure } else { failure.of(&units[index].image().name) }
    });
    match failures.next() {
        None => Ok(()),
        Some(mut first) => {
            failures.for_each(|failure| first.and(failure));
            Err(first)
        }
    }
}

impl Batch<'_> {
    /// Begins a unit's job, and tells that it will come, unless it is the only one.
    fn announce(&self, unit: &Unit, waits: bool, tell: bool) -> Result<Job, Failure> {
        let secrets = Secrets::default();
        for (name, value) in unit.secrets() {
            secrets.add(name, value);
        }
        let job = self.app.job(self.listener, "build", self.cancel.child(), secrets)?;
        if tell {
            job.events().tell(EventKind::BuildQueued {
                template: unit.path().to_owned(),
                image: unit.image().name.clone(),
                after: unit.stands_on().filter(|_| waits).into_iter().collect(),
            });
        }
        Ok(job)
    }

    /// Builds a unit once those whose images it stands on are done.
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
                    let ended = one::Ended::failed(interrupted.into());
                    one::tell_end(&job, &ended, std::time::Instant::now());
                    job.end()?;
                    return ended.result;
                }
            }
        }
        if stood_on == End::Bad {
            let ended = one::Ended::skipped(unit);
            one::tell_end(&job, &ended, std::time::Instant::now());
            job.end()?;
            return ended.result;
        }
        self.build(unit, job).await
    }
}

/// The layers of earlier builds; a cache that cannot be used is told once, and the builds go on without.
fn layers(app: &App, args: &BuildArgs) -> Result<Option<Layers>, Failure> {
    let mode = match app.config.cache {
        CacheMode::Full => imgbake_build::cache::CacheMode::Full,
        CacheMode::Disk => imgbake_build::cache::CacheMode::Disk,
        CacheMode::Off => return Ok(None),
    };
    let (to, from) = rooms::shares(&app.config, args)?;
    match LayerCache::open(&app.home, app.config.cache_size) {
        Ok(cache) => Ok(Some(Layers { cache, mode, to, from })),
        Err(error) => {
            app.note(&format!("no layer is used or saved: {error}"));
            Ok(None)
        }
    }
}

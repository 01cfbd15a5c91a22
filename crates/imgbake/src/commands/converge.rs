//! `imgbake converge`: proves that the steps of templates converge in one run, and publishes nothing.

use std::fmt::Write as _;
use std::time::Instant;

use camino::Utf8PathBuf;
use imgbake_build::stage;
use imgbake_types::Stage;
use imgbake_types::record::StageRecord;
use imgbake_types::record::step::{Convergence, ProofPlace, ResourceCounts};
use imgbake_ui::{Align, Cell, Table, Tone, human_seconds};
use serde::Serialize;

use super::junit::{self, Case, Suite};
use super::steps::Steps;
use crate::app::App;
use crate::cli::{ConvergeArgs, ResultsFormat};
use crate::components;
use crate::failure::Failure;
use crate::layers;
use crate::load;

/// The format number of the JSON document.
const FORMAT: u32 = 1;

/// What is printed.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    builds: &'a [Proved],
}

/// What one build showed.
#[derive(Serialize)]
struct Proved {
    /// The image.
    image: String,
    /// The template.
    template: Utf8PathBuf,
    /// Whether every step that was run again converged.
    converged: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Wall time in seconds.
    seconds: f64,
    /// The provision steps that ran, in order.
    steps: Vec<ProvedStep>,
}

/// What one step showed.
#[derive(Serialize)]
struct ProvedStep {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    /// Whether it ran in an earlier build, and was proved there.
    cached: bool,
    seconds: f64,
    /// What its first run did.
    counts: ResourceCounts,
    /// What its second run did; none where the template wants none.
    convergence: Option<Convergence>,
}

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
        let begun = Instant::now();
        let proving = Box::pin(steps.run("converge", unit, stage::prove_convergence));
        let (log, result) = match proving.await {
            Ok(log) => (log, Ok(())),
            Err((log, failure)) => (log, Err(failure)),
        };
        let cancelled = app.cancel.is_cancelled();
        all.push(Proved {
            image: unit.image().name.clone(),
            template: unit.path().to_owned(),
            converged: result.is_ok(),
            error: result.as_ref().err().map(Failure::summary),
            seconds: begun.elapsed().as_secs_f64(),
            steps: log.into_iter().filter_map(proved_step).collect(),
        });
        if let Err(failure) = result {
            let failure = if units.len() == 1 { failure } else { failure.of(&unit.image().name) };
            match &mut failed {
                Some(first) => first.and(failure),
                None => failed = Some(failure),
            }
        }
        if cancelled {
            break;
        }
    }
    let shown = listener.end().await;
    match if args.json { ResultsFormat::Json } else { args.format } {
        ResultsFormat::Table => app.print(&table(app, &all))?,
        ResultsFormat::Json => app.print_json(&Document { format: FORMAT, builds: &all })?,
        ResultsFormat::Junit => app.print(&junit::xml(&suites(&all)))?,
    }
    failed.map_or(Ok(()), Err)?;
    shown
}

fn proved_step(stage: StageRecord) -> Option<ProvedStep> {
    let report = stage.report.filter(|_| stage.stage == Stage::Provision)?;
    Some(ProvedStep {
        name: stage.name,
        kind: report.kind,
        cached: stage.cached,
        seconds: report.seconds,
        counts: report.counts,
        convergence: report.convergence,
    })
}

fn table(app: &App, all: &[Proved]) -> String {
    let paint = app.paint();
    let mut text = String::new();
    for proved in all {
        if all.len() > 1 {
            let _ = writeln!(text, "{}", paint.strong(&proved.image));
        }
        let mut table = Table::new([
            ("step", Align::Left),
            ("type", Align::Left),
            ("first run", Align::Left),
            ("time", Align::Right),
            ("second run", Align::Left),
            ("time", Align::Right),
            ("on", Align::Left),
            ("", Align::Left),
        ]);
        for step in &proved.steps {
            let cached = if step.cached { " (earlier)" } else { "" };
            let mut row = vec![
                Cell::from(step.name.clone()),
                Cell::from(step.kind.clone()),
                Cell::from(format!("{}{cached}", counts(step.counts))),
                Cell::from(human_seconds(step.seconds)),
            ];
            match &step.convergence {
                Some(proof) => row.extend([
                    Cell::from(second(proof)),
                    Cell::from(human_seconds(proof.seconds)),
                    Cell::from(place(proof.place)),
                    if proof.converged {
                        Cell::toned(Tone::Good, converged(proof))
                    } else {
                        Cell::toned(Tone::Bad, "did not converge")
                    },
                ]),
                None => row.extend(["", "", "", "not run again"].map(Cell::from)),
            }
            table.row(row);
        }
        if !table.is_empty() {
            text.push_str(&table.render(paint));
        }
    }
    text
}

fn counts(counts: ResourceCounts) -> String {
    if counts.total() == 0 { "ran".to_owned() } else { counts.to_string() }
}

/// What a second run did, in words; that of several steps names how many.
fn second(proof: &Convergence) -> String {
    let steps = match proof.steps.len() {
        0 => String::new(),
        many => format!("{many} steps: "),
    };
    let compared = proof.changed.len() as u64;
    if proof.counts.total() == 0 {
        return format!("{steps}{compared} changed");
    }
    // What imgbake found by comparing, and the tool did not say.
    match compared.saturating_sub(proof.counts.changed) {
        0 => format!("{steps}{}", proof.counts),
        more => format!("{steps}{}, {more} more not as before", proof.counts),
    }
}

/// That a step converged, and what the template let it change.
fn converged(proof: &Convergence) -> String {
    match proof.changed.len() {
        0 => "converged".to_owned(),
        allowed => format!("converged, {allowed} allowed"),
    }
}

const fn place(place: ProofPlace) -> &'static str {
    match place {
        ProofPlace::Copy => "copy",
        ProofPlace::SecondMachine => "second machine",
        ProofPlace::InPlace => "in place",
    }
}

/// A suite for each build, a case for each step that was run again. A build that failed in another way is a case
/// of its own.
fn suites(all: &[Proved]) -> Vec<Suite> {
    all.iter()
        .map(|proved| {
            let mut cases: Vec<Case> =
                proved.steps.iter().filter_map(|step| case(step, proved)).collect();
            if !proved.converged && cases.iter().all(|case| case.failure.is_none()) {
                let failure = Some(proved.error.clone().unwrap_or_default());
                let name = "build".to_owned();
                cases.push(Case { class: String::new(), name, seconds: None, failure });
            }
            Suite { name: proved.image.clone(), seconds: proved.seconds, cases }
        })
        .collect()
}

fn case(step: &ProvedStep, proved: &Proved) -> Option<Case> {
    let proof = step.convergence.as_ref()?;
    // It names what changed, with the diffs.
    let failure = (!proof.converged).then(|| proved.error.clone().unwrap_or_default());
    let (class, name) = ("converge".to_owned(), step.name.clone());
    Some(Case { class, name, seconds: Some(proof.seconds), failure })
}

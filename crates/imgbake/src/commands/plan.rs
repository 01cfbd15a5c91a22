//! `imgbake plan`: the steps, their keys, and which of their results are there already.

use camino::Utf8PathBuf;
use imgbake_build::cache::{Found, Layer, LayerCache};
use imgbake_build::stage;
use imgbake_build::{BuildErrorKind, Components, Sealer};
use imgbake_runtime::{Home, Secrets};
use imgbake_seal::GuestSealer;
use imgbake_types::plan::{Source, Step, StepKind};
use imgbake_types::{Plan, time};
use imgbake_ui::{Align, Cell, Table, Tone, human_bytes};
use serde::Serialize;

use crate::app::{App, conclude};
use crate::cli::{CacheMode, EventArgs, SelectionArgs, VariableArgs};
use crate::components;
use crate::failure::Failure;
use crate::load::{self, Unit};

/// A plan, and what of it is there.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    plan: Plan,
    /// In the order of the plan's steps.
    layers: Vec<Looked>,
    /// The version that has this plan.
    version: Option<String>,
}

/// Whether a step's result is there.
#[derive(Serialize)]
struct Looked {
    /// The step's name.
    step: String,
    cached: bool,
    /// Seconds since it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<f64>,
    disk_bytes: u64,
    state_bytes: u64,
    /// Why it is not there: the first input that differs from the last build.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// A build as it would be.
#[derive(Serialize)]
#[serde(untagged)]
enum Planned {
    /// Its plan.
    Now(Box<Shown>),
    /// It has a plan once another build of these is done.
    Later {
        /// The image.
        image: String,
        /// The template.
        template: Utf8PathBuf,
        /// The image that is built first.
        after: String,
    },
}

/// Prints the steps of every build of some templates.
pub(super) async fn run(
    app: &App,
    templates: &[Utf8PathBuf],
    selection: &SelectionArgs,
    variables: &VariableArgs,
    json: bool,
) -> Result<(), Failure> {
    let units = load::units(app, templates, selection, variables)?;
    show(app, &units, json).await
}

/// Prints the steps of builds.
pub(super) async fn show(app: &App, units: &[Unit], json: bool) -> Result<(), Failure> {
    let mut planned = Vec::new();
    for unit in units {
        planned.push(match waits_for(app, unit, units).await? {
            Some(after) => Planned::Later {
                image: unit.image().name.clone(),
                template: unit.path().to_owned(),
                after,
            },
            None => Planned::Now(Box::new(look(app, unit).await?)),
        });
    }
    if json {
        return app.print_json(&planned);
    }
    for (number, one) in planned.iter().enumerate() {
        if number > 0 {
            app.print("\n")?;
        }
        match one {
            Planned::Now(shown) => print(app, shown)?,
            Planned::Later { image, template, after } => app.print(&format!(
                "{image} from {template}\n\nwill be built on {after}, which is built first\n"
            ))?,
        }
    }
    Ok(())
}

/// The image that one of the builds makes and that this one needs, if no version of it is there yet.
async fn waits_for(app: &App, unit: &Unit, units: &[Unit]) -> Result<Option<String>, Failure> {
    let Some(parent) = unit.parent() else { return Ok(None) };
    if !units.iter().any(|other| other.image().name == parent.name) {
        return Ok(None);
    }
    app.home.ensure()?;
    let image = components::registry(&app.home)?.image(&parent.name);
    match image.version(parent.target.as_ref()).await {
        Err(error) if error.kind() == BuildErrorKind::NotFound => Ok(Some(parent.name)),
        // What else is wrong is found out where the plan is made.
        _ => Ok(None),
    }
}

/// Makes a unit's plan and looks its results up.
async fn look(app: &App, unit: &Unit) -> Result<Shown, Failure> {
    app.home.ensure()?;
    let components = components::wire(&app.wiring, &app.home)?;
    let secrets = Secrets::default();
    for (name, value) in unit.secrets() {
        secrets.add(name, value);
    }
    let (job, listener) = app.begin_quiet("plan", &EventArgs::default(), secrets)?;
    let made = load::plan(&app.home, unit, &components, &job).await;
    let plan = conclude(job, listener, made).await?;
    let (version, cache) = match app.config.cache {
        CacheMode::Off => (None, None),
        _ => (
            stage::unchanged(&*components.registry, &plan).await?,
            LayerCache::open(&app.home, app.config.cache_size).ok(),
        ),
    };
    let before = last(&app.home, &plan);
    let moved = match &before {
        Some(before) => parent_moved(unit, &components, &plan, before).await,
        None => None,
    };
    let layers = plan
        .layers()
        .iter()
        .map(|step| match cache.as_ref().map(|cache| cache.find(&step.key)) {
            Some(Found::Layer(layer)) => there(step, &layer),
            found => {
                let damaged = match found {
                    Some(Found::Damaged(why)) => Some(why),
                    _ => None,
                };
                let moved = moved.clone().filter(|_| matches!(step.kind, StepKind::Source { .. }));
                let why = || moved.unwrap_or_else(|| why(step, &plan, before.as_ref()));
                missing(step, damaged.unwrap_or_else(why))
            }
        })
        .collect();
    let version = version.map(|version| format!("{}:{}", version.name, version.version));
    Ok(Shown { plan, layers, version })
}

/// The versions between which the parent's channel moved since the last build, where that is what changed.
async fn parent_moved(
    unit: &Unit,
    components: &Components,
    plan: &Plan,
    before: &Plan,
) -> Option<String> {
    let image = |plan: &Plan| match plan.source() {
        Some((_, Source::Image { reference })) => Some(reference.clone()),
        _ => None,
    };
    let (parent, now, was) = (unit.parent()?, image(plan)?, image(before)?);
    if now == was || now.name != was.name {
        return None;
    }
    let versions = components.registry.image(&now.name);
    let mut names = Vec::new();
    for reference in [&was, &now] {
        let version = versions.version(reference.target.as_ref()).await;
        names.push(version.map_or_else(|_| reference.to_string(), |it| it.version.to_string()));
    }
    Some(format!("{parent} moved from {} to {}", names[0], names[1]))
}

fn there(step: &Step, layer: &Layer) -> Looked {
    Looked {
        step: step.name.clone(),
        cached: true,
        age: Some(layer.age()),
        disk_bytes: layer.record().disk.file.allocated,
        state_bytes: layer.state().map_or(0, |state| state.file.allocated),
        why: None,
    }
}

fn missing(step: &Step, why: String) -> Looked {
    Looked {
        step: step.name.clone(),
        cached: false,
        age: None,
        disk_bytes: 0,
        state_bytes: 0,
        why: Some(why),
    }
}

/// Why a step's result is not there.
fn why(step: &Step, plan: &Plan, before: Option<&Plan>) -> String {
    if !step.cache {
        return "cache = false".to_owned();
    }
    let steps = plan.layers();
    let at = steps.iter().position(|s| s.key == step.key).unwrap_or(0);
    if steps[..at].iter().any(|step| !step.cache) {
        return "an earlier step is never cached".to_owned();
    }
    let Some(before) = before else { return "never built".to_owned() };
    match before.layers().iter().find(|was| was.name == step.name) {
        None => "a new step".to_owned(),
        Some(was) if was.key == step.key => "cache miss: no cached layer".to_owned(),
        Some(was) => imgbake_plan::difference(step, was)
            .unwrap_or_else(|| "an earlier step changed".to_owned()),
    }
}

/// Where the plan of an image's last build is kept.
fn last_path(home: &Home, plan: &Plan) -> Utf8PathBuf {
    home.cache().join("plans").join(format!("{}.json", plan.image.name.replace('/', "%")))
}

fn last(home: &Home, plan: &Plan) -> Option<Plan> {
    serde_json::from_slice(&std::fs::read(last_path(home, plan)).ok()?).ok()
}

/// Keeps a plan that is built, so that a later one can show what differs. Nothing depends on it.
pub(super) fn remember(home: &Home, plan: &Plan) {
    let path = last_path(home, plan);
    let write = || -> std::io::Result<()> {
        let dir = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(dir)?;
        let file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer(&file, plan)?;
        file.persist(&path)?;
        Ok(())
    };
    // Without it, the next plan says less.
    let _ = write();
}

fn print(app: &App, shown: &Shown) -> Result<(), Failure> {
    let plan = &shown.plan;
    let mut table = Table::new([
        ("#", Align::Right),
        ("step", Align::Left),
        ("name", Align::Left),
        ("key", Align::Left),
        ("cached", Align::Left),
        ("what", Align::Left),
    ]);
    for (number, step) in plan.steps.iter().enumerate() {
        let (word, what) = describe(plan, &step.kind);
        table.row([
            Cell::from((number + 1).to_string()),
            Cell::toned(Tone::Strong, word),
            Cell::from(step.name.clone()),
            Cell::toned(Tone::Dim, step.key.short()),
            cached(shown, number),
            Cell::from(what),
        ]);
    }
    app.print(&format!(
        "{} from {}\n\n{}",
        plan.image.name,
        plan.template,
        table.render(app.paint())
    ))?;
    match &shown.version {
        Some(version) => app.print(&format!("\nalready built: {version} has this plan\n")),
        None => Ok(()),
    }
}

fn cached(shown: &Shown, number: usize) -> Cell {
    match shown.layers.get(number) {
        Some(Looked { cached: true, age, disk_bytes, state_bytes, .. }) => {
            let age = time::rough(age.unwrap_or_default());
            let bytes = human_bytes(disk_bytes + state_bytes);
            Cell::toned(Tone::Good, format!("{age} old, {bytes}"))
        }
        Some(Looked { why: Some(why), .. }) => Cell::toned(Tone::Warn, format!("no: {why}")),
        _ => Cell::from(""),
    }
}

fn describe(plan: &Plan, kind: &StepKind) -> (&'static str, String) {
    match kind {
        StepKind::Source { source } => ("source", source_words(source)),
        StepKind::Boot => ("boot", "a machine".to_owned()),
        StepKind::Provision { provision } => ("provision", provision.kind.clone()),
        StepKind::Seal { seal } => {
            let names: Vec<&str> = GuestSealer::new()
                .operations()
                .iter()
                .filter(|operation| {
                    let listed = |list: &[String]| list.iter().any(|name| name == operation.name);
                    (operation.default && !listed(&seal.skip)) || listed(&seal.also)
                })
                .map(|operation| operation.name)
                .collect();
            ("seal", names.join(", "))
        }
        StepKind::Capture => ("capture", "the disk, read once".to_owned()),
        StepKind::Publish { publish } => {
            let version = publish.version.as_deref().unwrap_or("YYYY.MM.DD-N");
            let channel =
                publish.channel.as_ref().map(|channel| format!(", then channel {channel}"));
            ("publish", format!("{}:{version}{}", plan.image.name, channel.unwrap_or_default()))
        }
        StepKind::Verify { verify, tests } if verify.enabled() => {
            let names: Vec<&str> = tests.iter().filter_map(|test| test.name.as_deref()).collect();
            let clones = verify.clones();
            let plural = if clones == 1 { "" } else { "s" };
            let tests = if names.is_empty() {
                "no tests".into()
            } else {
                format!("tests: {}", names.join(", "))
            };
            ("verify", format!("{clones} clone{plural}; {tests}"))
        }
        StepKind::Verify { .. } => ("verify", "off".to_owned()),
    }
}

fn source_words(source: &Source) -> String {
    match source {
        Source::Bootstrap(spec) => {
            let base = format!("bootstrap {:?} {}", spec.distribution, spec.suite).to_lowercase();
            match spec.packages.len() {
                0 => base,
                1 => format!("{base}, 1 more package"),
                more => format!("{base}, {more} more packages"),
            }
        }
        Source::Url(url) => format!("url {}", url.location),
        Source::Image { reference } => format!("image {reference}"),
    }
}

//! `imgbake plan`

use camino::Utf8Path;
use imgbake_build::Sealer;
use imgbake_seal::GuestSealer;
use imgbake_types::Plan;
use imgbake_types::plan::{Source, StepKind};
use imgbake_ui::{Align, Cell, Table, Tone};

use crate::app::App;
use crate::cli::VariableArgs;
use crate::failure::Failure;
use crate::load;

/// Prints the steps and their keys.
pub(super) fn run(
    app: &App,
    path: &Utf8Path,
    variables: &VariableArgs,
    json: bool,
) -> Result<(), Failure> {
    let plan = load::load(&app.config, path, variables)?.plan;
    if json {
        return app.print_json(&plan);
    }
    let mut table = Table::new([
        ("#", Align::Right),
        ("step", Align::Left),
        ("name", Align::Left),
        ("key", Align::Left),
        ("what", Align::Left),
    ]);
    for (number, step) in plan.steps.iter().enumerate() {
        let (word, what) = describe(&plan, &step.kind);
        table.row([
            Cell::from((number + 1).to_string()),
            Cell::toned(Tone::Strong, word),
            Cell::from(step.name.clone()),
            Cell::toned(Tone::Dim, step.key.short()),
            Cell::from(what),
        ]);
    }
    app.print(&format!(
        "{} from {}\n\n{}",
        plan.image.name,
        plan.template,
        table.render(app.paint())
    ))
}

fn describe(plan: &Plan, kind: &StepKind) -> (&'static str, String) {
    match kind {
        StepKind::Source { source } => ("source", source_words(source)),
        StepKind::Boot => ("boot", "a machine".to_owned()),
        StepKind::Provision { provision } => ("provision", provision.kind().to_owned()),
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
            ("verify", format!("{clones} clone{plural}; tests: {}", names.join(", ")))
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

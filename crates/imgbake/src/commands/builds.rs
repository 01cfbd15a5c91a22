//! `imgbake builds`

use camino::Utf8PathBuf;
use imgbake_runtime::builds::{self, StoredBuild};
use imgbake_types::record::build::StageName;
use imgbake_types::{Digest, Reference};
use imgbake_ui::{Align, Cell, Table, Tone, clean, human_seconds};
use jiff::Timestamp;
use serde::Serialize;

use crate::app::App;
use crate::failure::Failure;

/// A build as JSON.
#[derive(Debug, Serialize)]
pub(super) struct BuildView {
    id: String,
    image: Option<String>,
    template: Option<Utf8PathBuf>,
    started: Timestamp,
    /// `running`, `killed`, or how it ended.
    state: &'static str,
    seconds: Option<f64>,
    reference: Option<Reference>,
    digest: Option<Digest>,
    channel: Option<String>,
    error: Option<String>,
    failed: Option<StageName>,
}

impl BuildView {
    pub(super) fn new(build: &StoredBuild) -> Self {
        let (start, result) = (build.start().ok(), build.result());
        Self {
            id: build.id().to_owned(),
            image: start.map(|start| start.image.clone()),
            template: start.map(|start| start.template.clone()),
            started: build.started(),
            state: build.state().name(),
            seconds: result.map(|result| result.seconds),
            reference: result.and_then(|result| result.reference.clone()),
            digest: result.and_then(|result| result.digest.clone()),
            channel: result.and_then(|result| result.channel.clone()),
            error: match build.start() {
                Ok(_) => result.and_then(|result| result.error.clone()),
                Err(error) => Some(error.to_owned()),
            },
            failed: result.and_then(|result| result.failed.clone()),
        }
    }
}

/// Lists builds, the newest first.
pub(super) fn run(app: &App, name: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut builds: Vec<BuildView> = builds::list(&app.home)?.iter().map(BuildView::new).collect();
    if let Some(name) = name {
        builds.retain(|build| build.image.as_deref() == Some(name));
    }
    if json {
        return app.print_json(&builds);
    }
    if builds.is_empty() {
        app.note(&match name {
            Some(name) => format!("there are no builds of {name}; `imgbake builds` lists all"),
            None => "there are no builds yet; `imgbake build TEMPLATE` makes the first".to_owned(),
        });
        return Ok(());
    }
    app.print(&table(&builds).render(app.paint()))
}

fn table(builds: &[BuildView]) -> Table {
    let mut table = Table::new([
        ("build", Align::Left),
        ("image", Align::Left),
        ("started (UTC)", Align::Left),
        ("state", Align::Left),
        ("time", Align::Right),
        ("version", Align::Left),
        ("", Align::Left),
    ]);
    for build in builds {
        let tag = build.reference.as_ref().and_then(Reference::tag_name);
        let note = match (&build.failed, &build.error) {
            (Some(failed), _) if failed.name == failed.stage.name() => {
                format!("at {}", failed.stage)
            }
            (Some(failed), _) => format!("at {} {}", failed.stage, failed.name),
            (None, Some(error)) => error.lines().next().unwrap_or_default().to_owned(),
            (None, None) => String::new(),
        };
        table.row([
            Cell::toned(Tone::Strong, build.id.clone()),
            Cell::from(clean(build.image.as_deref().unwrap_or("?"))),
            Cell::toned(Tone::Dim, build.started.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            Cell::toned(tone(build.state), build.state),
            Cell::from(build.seconds.map(human_seconds).unwrap_or_default()),
            Cell::from(tag.unwrap_or_default()),
            Cell::toned(Tone::Dim, clean(&note)),
        ]);
    }
    table
}

/// The colour of a build's state.
pub(super) fn tone(state: &str) -> Tone {
    match state {
        "done" | "cached" => Tone::Good,
        "failed" | "killed" => Tone::Bad,
        "warning" => Tone::Warn,
        _ => Tone::Normal,
    }
}

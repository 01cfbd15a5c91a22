//! `imgbake logs`

use std::fmt::Write as _;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::builds::{self, BuildState, LoggedOutput, LoggedStage, StoredBuild};
use imgbake_types::record::step::{OutputTail, ResourceOutcome};
use imgbake_types::{Outcome, Stage, StepReport};
use imgbake_ui::{Paint, Tone, clean, count, human_seconds};
use serde::Serialize;

use super::builds::{BuildView, tone};
use crate::app::App;
use crate::failure::Failure;

/// Builds that an error lists.
const LISTED: usize = 5;

/// What of a build's log is shown.
pub(super) struct Part<'a> {
    /// One step's or test's.
    pub(super) step: Option<&'a str>,
    /// The consoles.
    pub(super) console: bool,
}

/// A build's log as JSON.
#[derive(Debug, Serialize)]
struct LogView {
    #[serde(flatten)]
    build: BuildView,
    stages: Vec<LoggedStage>,
    outputs: Vec<LoggedOutput>,
}

/// Shows a build's log.
pub(super) fn run(app: &App, id: &str, part: &Part<'_>, json: bool) -> Result<(), Failure> {
    let build = find(builds::list(&app.home)?, id)?;
    let (mut stages, mut outputs) = (build.stages()?, build.outputs()?);
    outputs.retain(|output| output.console == part.console);
    if let Some(step) = part.step {
        check_step(&build, step, &stages, &outputs)?;
        stages.retain(|stage| stage.name == step);
        outputs.retain(|output| output.name == step);
    }
    let view = LogView { build: BuildView::new(&build), stages, outputs };
    if json {
        return app.print_json(&view);
    }
    let paint = app.paint();
    if part.console {
        return app.print(&consoles(&view.outputs, paint));
    }
    let mut text = if part.step.is_none() { header(&build, paint) } else { String::new() };
    steps(&view, paint, &mut text);
    if part.step.is_none() {
        text.push_str(&ending(&build, &view.stages, paint));
    }
    app.print(&text)
}

/// The build that an ID, the beginning of one or `latest` means.
fn find(builds: Vec<StoredBuild>, id: &str) -> Result<StoredBuild, Failure> {
    let matches = |build: &StoredBuild| {
        let known = build.id();
        known.starts_with(id)
            || known.strip_prefix("build-").is_some_and(|rest| rest.starts_with(id))
    };
    let names: Vec<String> = builds.iter().map(|build| build.id().to_owned()).collect();
    let exact = builds.iter().position(|build| build.id() == id);
    let found: Vec<usize> = match exact {
        Some(place) => vec![place],
        None if id == "latest" => (0..builds.len().min(1)).collect(),
        None => (0..builds.len()).filter(|&place| matches(&builds[place])).collect(),
    };
    let listed = |places: &[usize]| {
        let names: Vec<&str> = places.iter().take(LISTED).map(|&at| names[at].as_str()).collect();
        names.join(", ")
    };
    match found[..] {
        [place] => builds
            .into_iter()
            .nth(place)
            .ok_or_else(|| Failure::internal("a build's record went while it was read")),
        [] if names.is_empty() => {
            let help = "`imgbake build TEMPLATE` makes the first".to_owned();
            Err(not_found("there are no builds yet".to_owned(), help))
        }
        [] => {
            let newest: Vec<usize> = (0..names.len()).collect();
            let meant = closest(id, &names).map(|name| format!("did you mean {name}? "));
            let help = format!(
                "{}newest builds: {}; `imgbake builds` lists all",
                meant.unwrap_or_default(),
                listed(&newest)
            );
            Err(not_found(format!("there is no build {id}"), help))
        }
        _ => {
            let what = format!("`{id}` is the beginning of several builds");
            let help = format!("give more of it: {}", listed(&found));
            Err(BuildError::new(BuildErrorKind::Usage, what).help(help).into())
        }
    }
}

fn not_found(what: String, help: String) -> Failure {
    BuildError::new(BuildErrorKind::NotFound, what).help(help).into()
}

/// The name that is most like one, if any is.
fn closest<'a>(given: &str, names: &'a [String]) -> Option<&'a String> {
    let scored = names.iter().map(|name| (strsim::jaro_winkler(given, name), name));
    scored
        .filter(|(score, _)| *score >= 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// An error for a step that the build does not have.
fn check_step(
    build: &StoredBuild,
    step: &str,
    stages: &[LoggedStage],
    outputs: &[LoggedOutput],
) -> Result<(), Failure> {
    let names = stages.iter().map(|stage| &stage.name).chain(outputs.iter().map(|o| &o.name));
    let mut known: Vec<String> = Vec::new();
    for name in names {
        if !known.contains(name) {
            known.push(name.clone());
        }
    }
    if known.iter().any(|name| name == step) {
        return Ok(());
    }
    let meant = closest(step, &known).map(|name| format!("did you mean `{name}`? "));
    let known: Vec<String> = known.iter().map(|name| format!("`{}`", clean(name))).collect();
    let help = format!("{}its steps: {}", meant.unwrap_or_default(), known.join(", "));
    Err(not_found(format!("{} has no step `{step}`", build.id()), help))
}

fn header(build: &StoredBuild, paint: Paint) -> String {
    let what = match build.start() {
        Ok(start) => format!("{} from {}", clean(&start.image), clean(start.template.as_str())),
        Err(error) => clean(error),
    };
    let state = build.state().name();
    let time = build.result().map(|result| format!(" after {}", human_seconds(result.seconds)));
    format!(
        "{}: {what}\nstarted {} UTC, {}{}\n",
        paint.tone(Tone::Strong, build.id()),
        build.started().strftime("%Y-%m-%d %H:%M:%S"),
        paint.tone(tone(state), state),
        time.unwrap_or_default()
    )
}

/// Each stage with its output, then the outputs that are no stage's: those of tests.
fn steps(view: &LogView, paint: Paint, text: &mut String) {
    let output = |name: &str| view.outputs.iter().find(|output| output.name == name);
    for (place, stage) in view.stages.iter().enumerate() {
        let _ = writeln!(text, "\n{}", paint.tone(Tone::Strong, &stage_line(stage)));
        if stage.stage != Stage::Provision {
            continue;
        }
        // A step that was tried again has one output, below its last try.
        let again = view.stages[place + 1..].iter().any(|later| later.name == stage.name);
        match (output(&stage.name).filter(|_| !again), &stage.report) {
            (Some(output), _) => print_output(output, text),
            (None, Some(report)) if stage.outcome == Some(Outcome::Cached) => {
                print_tail(&report.output, text);
            }
            _ => {}
        }
    }
    let is_step = |name: &str| {
        view.stages.iter().any(|stage| stage.stage == Stage::Provision && stage.name == name)
    };
    for output in view.outputs.iter().filter(|output| !is_step(&output.name)) {
        let title = format!("== output of {}", clean(&output.name));
        let _ = writeln!(text, "\n{}", paint.tone(Tone::Strong, &title));
        print_output(output, text);
    }
}

fn stage_line(stage: &LoggedStage) -> String {
    let mut line = format!("== {}", stage.stage);
    if stage.name != stage.stage.name() {
        let _ = write!(line, " {}", clean(&stage.name));
    }
    match stage.outcome {
        None => line.push_str(": did not end"),
        Some(Outcome::Cached) => line.push_str(": cached"),
        Some(outcome) => {
            let word = format!("{outcome:?}").to_lowercase();
            let _ = write!(line, ": {word} in {}", human_seconds(stage.seconds));
        }
    }
    if let Some(report) = &stage.report {
        let summary = report.summary();
        if !summary.is_empty() {
            let _ = write!(line, ", {}", clean(&summary));
        }
        if stage.outcome == Some(Outcome::Cached) {
            let _ = write!(line, ", ran in {}", human_seconds(report.seconds));
        }
    }
    line
}

fn print_output(output: &LoggedOutput, text: &mut String) {
    omitted(output.omitted, text);
    for line in &output.lines {
        let _ = writeln!(text, "{}", clean(&line.line));
    }
}

fn print_tail(tail: &OutputTail, text: &mut String) {
    omitted(tail.omitted, text);
    for line in &tail.lines {
        let _ = writeln!(text, "{}", clean(&line.line));
    }
}

fn omitted(lines: u64, text: &mut String) {
    if lines > 0 {
        let _ = writeln!(text, "… {} before these were not kept", count(lines, "line"));
    }
}

fn consoles(outputs: &[LoggedOutput], paint: Paint) -> String {
    let mut text = String::new();
    for output in outputs {
        let title = format!("== console of {}", clean(&output.name));
        let _ = writeln!(text, "{}", paint.tone(Tone::Strong, &title));
        print_output(output, &mut text);
    }
    text
}

/// Why a build failed: its error, and the report of the step that did.
fn ending(build: &StoredBuild, stages: &[LoggedStage], paint: Paint) -> String {
    let BuildState::Ended(Outcome::Failed | Outcome::Skipped) = build.state() else {
        return String::new();
    };
    let error = build.result().and_then(|result| result.error.as_deref()).unwrap_or_default();
    let mut text = String::new();
    let failed = stages.iter().rfind(|stage| stage.outcome == Some(Outcome::Failed));
    if let Some(report) = failed.and_then(|stage| stage.report.as_ref()) {
        let name = failed.map(|stage| clean(&stage.name)).unwrap_or_default();
        let title = format!("== report of {name}");
        let _ = writeln!(text, "\n{}", paint.tone(Tone::Strong, &title));
        text.push_str(&facts(report));
    }
    // The lines that follow are the end of the output, which is above.
    let first = error.lines().next().unwrap_or_default();
    let first = first.strip_suffix("; its last lines:").unwrap_or(first);
    let _ = writeln!(text, "\n{}", paint.tone(Tone::Bad, &format!("failed: {}", clean(first))));
    text
}

/// A step's report in lines, without its output.
fn facts(report: &StepReport) -> String {
    let mut text = format!("type: {}\n", clean(&report.kind));
    if let Some(code) = report.exit_code {
        let _ = writeln!(text, "exit code: {code}");
    }
    if report.attempts > 1 {
        let _ = writeln!(text, "attempts: {}", report.attempts);
    }
    if report.counts.total() > 0 {
        let _ = writeln!(text, "resources: {}", report.counts);
    }
    let failed = |outcome| outcome == ResourceOutcome::Failed;
    for resource in report.resources.iter().filter(|resource| failed(resource.outcome)) {
        let _ = write!(text, "  failed: {} {}", clean(&resource.kind), clean(&resource.name));
        if let Some(file) = &resource.file {
            let line = resource.line.map(|line| format!(":{line}")).unwrap_or_default();
            let _ = write!(text, " ({}{line})", clean(file));
        }
        if let Some(message) = &resource.message {
            let _ = write!(text, ": {}", clean(message));
        }
        text.push('\n');
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {}", clean(warning));
    }
    text
}

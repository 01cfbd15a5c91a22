//! `imgbake show`

mod results;

use std::fmt::Write as _;

use imgbake_runtime::Secrets;
use imgbake_types::Reference;
use imgbake_types::record::{StageRecord, VersionView};
use imgbake_ui::{Align, Cell, Table, Tone, count, human_bytes, human_seconds};

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;
use crate::images;

/// What of a version is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The version, its stages and tests.
    Version,
    /// The resources that its steps managed.
    Results,
}

/// Shows one version.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    part: Part,
    remote: &RemoteArgs,
    json: bool,
) -> Result<(), Failure> {
    let (job, listener) = app.begin_quiet("show", &EventArgs::default(), Secrets::default())?;
    let version = images::version(&job, &app.config, reference, remote).await;
    let version = conclude(job, listener, version).await?;
    if part == Part::Results {
        return results::print(app, &version, json);
    }
    if json {
        return app.print_json(&version);
    }
    let paint = app.paint();
    let mut text = facts(&version).render(paint);
    let mut stages = Table::new([
        ("stage", Align::Left),
        ("name", Align::Left),
        ("time", Align::Right),
        ("bytes", Align::Right),
        ("", Align::Left),
        ("did", Align::Left),
    ]);
    for stage in &version.stages {
        stages.row([
            stage.stage.to_string(),
            if stage.name == stage.stage.name() { String::new() } else { stage.name.clone() },
            human_seconds(stage.seconds),
            if stage.bytes == 0 { String::new() } else { human_bytes(stage.bytes) },
            if stage.cached { "cached".to_owned() } else { String::new() },
            did(stage),
        ]);
    }
    text.push('\n');
    text.push_str(&stages.render(paint));
    if !version.verify.tests.is_empty() {
        let mut tests = Table::new([
            ("test", Align::Left),
            ("on", Align::Left),
            ("result", Align::Left),
            ("time", Align::Right),
        ]);
        for test in &version.verify.tests {
            let result = if test.passed {
                Cell::toned(Tone::Good, "passed")
            } else {
                Cell::toned(Tone::Bad, "failed")
            };
            tests.row([
                Cell::from(test.name.clone()),
                Cell::from(test.machine.clone()),
                result,
                Cell::from(human_seconds(test.seconds)),
            ]);
        }
        text.push('\n');
        text.push_str(&tests.render(paint));
        for test in version.verify.tests.iter().filter(|test| !test.passed) {
            let _ = writeln!(text, "\n{} failed on {}:", test.name, test.machine);
            test.detail.lines().for_each(|line| _ = writeln!(text, "  {line}"));
        }
    }
    app.print(&text)
}

/// What a stage did: a cached one when it ran.
fn did(stage: &StageRecord) -> String {
    if let Some(report) = &stage.report {
        let mut parts = vec![report.kind.clone()];
        parts.extend(Some(report.summary()).filter(|summary| !summary.is_empty()));
        if stage.cached {
            parts.push(format!("ran in {}", human_seconds(report.seconds)));
        }
        return imgbake_ui::clean(&parts.join(", "));
    }
    let Some(seal) = &stage.seal else { return String::new() };
    let warnings = match seal.warnings.len() {
        0 => String::new(),
        many => format!(", {}", count(many as u64, "warning")),
    };
    let operations = count(seal.operations.len() as u64, "operation");
    format!("{operations}, {}{warnings}", count(seal.removed(), "item"))
}

fn facts(version: &VersionView) -> Table {
    let mut facts = vec![("reference", format!("{}:{}", version.name, version.version))];
    facts.extend(version.description.clone().map(|text| ("description", text)));
    facts.push(("digest", version.digest.to_string()));
    facts.push(("channels", version.channels.join(" ")));
    facts.extend(version.hold.clone().map(|reason| ("held", reason)));
    let status = format!("{:?}", version.verify.status).to_lowercase();
    facts.push(("verify", status));
    for evidence in &version.verify.unreadable {
        let problem = format!("{} {}", evidence.digest.short(), evidence.problem);
        facts.push(("verify record", problem));
    }
    facts.push(("created", version.created.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()));
    facts.push((
        "disk",
        format!(
            "{}, {} of data, {} stored, {}",
            human_bytes(version.disk.virtual_size),
            human_bytes(version.disk.data_bytes),
            human_bytes(version.disk.stored_bytes),
            version.arch
        ),
    ));
    let sha256 = version.disk.sha256.as_ref();
    let unknown = || "not known before all of it was restored".to_owned();
    facts.push(("disk sha256", sha256.map_or_else(unknown, |digest| digest.hex().to_owned())));
    if let Some(parent) = &version.parent {
        let reference = parent.reference.as_ref().map(|reference| format!("{reference} "));
        facts.push((
            "parent",
            format!("{} {}{}", parent.kind, reference.unwrap_or_default(), parent.digest.short()),
        ));
    }
    facts.push(("plan", version.plan.digest.to_string()));
    facts.push(("built by", version.imgbake.clone()));
    if let Some(origin) = &version.origin {
        let branch = origin.branch.as_ref().map(|name| format!("({name})"));
        let commit: Vec<String> = origin.commit.clone().into_iter().chain(branch).collect();
        facts.extend((!commit.is_empty()).then(|| ("git commit", commit.join(" "))));
        facts.extend(origin.ci_job.clone().map(|url| ("CI job", url)));
    }
    Table::facts(facts)
}

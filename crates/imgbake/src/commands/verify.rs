//! `imgbake verify`

use std::sync::Arc;

use imgbake_build::BuildError;
use imgbake_registry::{DeepReport, Depth, Layout, ReadBlobs, Repair};
use imgbake_runtime::{Job, Secrets};
use imgbake_types::{Outcome, Reference, Stage};
use imgbake_ui::{count, human_bytes};

use crate::app::{App, conclude};
use crate::cli::VerifyArgs;
use crate::components;
use crate::failure::Failure;
use crate::images;
use crate::store::Store;

/// Reads what is stored again.
pub(super) async fn run(app: &App, args: &VerifyArgs) -> Result<(), Failure> {
    if let Some(reference) = &args.reference {
        images::check_local(reference)?;
    }
    let layout = components::layout(&app.home)?;
    let (job, listener) = if args.json {
        app.begin_quiet("verify", &args.events, Secrets::default())?
    } else {
        app.begin_reading("verify", &args.events, Secrets::default())?
    };
    let depth = if args.deep { Depth::Bytes } else { Depth::Presence };
    let read = match sources(app, &job, args).await {
        Ok(sources) => {
            let repair = Repair { sources, seeds: args.seeds.clone() };
            read(&job, &layout, args.reference.as_ref(), depth, repair).await
        }
        Err(failure) => Err(failure),
    };
    let report = conclude(job, listener, read).await?;
    if args.json {
        app.print_json(&report)?;
    } else {
        app.print(&words(&report, depth))?;
    }
    if report.is_sound() {
        return Ok(());
    }
    let damaged = report.damaged.iter().filter(|damage| damage.repaired_from.is_none()).count();
    Err(BuildError::failed(format!("damaged: {}", count(damaged as u64, "blob")))
        .help("`--from` takes them from another copy or registry, `--seed` from a disk; else build the versions again")
        .into())
}

/// The stores to take blobs from, in the order in which they were given.
async fn sources(
    app: &App,
    job: &Job,
    args: &VerifyArgs,
) -> Result<Vec<Box<dyn ReadBlobs>>, Failure> {
    let mut sources: Vec<Box<dyn ReadBlobs>> = Vec::new();
    for place in &args.from {
        match Store::find(place)? {
            Store::Repository(reference) => {
                let options = images::remote_options(&app.config, &args.remote, &[&reference])?;
                sources.push(Box::new(images::repository(job, &options, &reference).await?));
            }
            Store::Folder(path) => sources.push(Box::new(Layout::open_existing(path)?)),
        }
    }
    Ok(sources)
}

async fn read(
    job: &Job,
    layout: &Layout,
    reference: Option<&Reference>,
    depth: Depth,
    repair: Repair,
) -> Result<DeepReport, Failure> {
    let stage = Arc::new(job.events().stage(Stage::Verify, "registry"));
    let seen = Arc::clone(&stage);
    let progress = move |done, total| seen.progress(done, Some(total));
    let reading = layout.read_again(reference, depth, repair, progress);
    let report = job.cancel().run(reading).await.map_err(BuildError::from)??;
    if let Some(stage) = Arc::into_inner(stage) {
        let outcome = if report.damaged.is_empty() { Outcome::Done } else { Outcome::Warning };
        let detail =
            format!("{}, {} damaged", count(report.blobs as u64, "blob"), report.damaged.len());
        stage.end(outcome, report.bytes, detail);
    }
    Ok(report)
}

fn words(report: &DeepReport, depth: Depth) -> String {
    let done = match depth {
        Depth::Bytes => "read",
        Depth::Presence => "present at full size",
    };
    let mut lines = Vec::new();
    for damage in &report.damaged {
        lines.push(format!("{} {}", damage.digest, damage.why));
        lines.push(format!("    needed by {}", damage.breaks.join(", ")));
        if let Some(place) = &damage.repaired_from {
            lines.push(format!("    put back from {place}"));
        }
    }
    let sound = report.blobs - report.damaged.len();
    lines.push(format!(
        "{}, {}, {}: {sound} {done}, {} damaged\n",
        count(report.names as u64, "name"),
        count(report.blobs as u64, "blob"),
        human_bytes(report.bytes),
        report.damaged.len()
    ));
    lines.join("\n")
}

//! `imgbake pull`

use std::fs;
use std::sync::Arc;

use camino::Utf8PathBuf;
use imgbake_build::{BuildError, BuildErrorKind, Whole};
use imgbake_disk::ExportFormat;
use imgbake_oci::RemoteOptions;
use imgbake_registry::pull::{Part, RemoteVersion, Seed, Sources, pull};
use imgbake_registry::{Layout, RemoteImage};
use imgbake_runtime::error::io_at;
use imgbake_runtime::{Job, Secrets};
use imgbake_types::{Reference, Stage};

use super::export::{self, Durable, Output, OutputFile};
use super::resolve;
use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::components;
use crate::failure::Failure;
use crate::images;

/// What shall be written, and from what beside the registry.
pub(super) struct PullOutput<'a> {
    /// The files, devices, FIFOs or standard output.
    pub(super) outputs: &'a [Utf8PathBuf],
    /// Its format, if the extension does not show.
    pub(super) format: Option<ExportFormat>,
    /// Disks that may have some of the bytes.
    pub(super) seeds: &'a [Utf8PathBuf],
    /// Whether it waits for the disk.
    pub(super) durable: Durable,
    /// Whether a device that is in use or holds data is written over.
    pub(super) force: bool,
}

/// Writes a version's disk to one output after the other; what the first ones have is not moved again.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    into: &PullOutput<'_>,
    remote: &RemoteArgs,
    events: &EventArgs,
) -> Result<(), Failure> {
    // What cannot be written is found out before anything is.
    for output in into.outputs {
        Output::of(output, into.durable, into.force)?.format(into.format)?;
    }
    Output::refuse_same(into.outputs)?;
    if reference.host.is_some() {
        let options = images::remote_options(&app.config, remote, &[reference])?;
        let (job, listener) = app.begin_reading("pull", events, Secrets::default())?;
        let mut result = Ok(());
        for at in 0..into.outputs.len() {
            if result.is_ok() {
                result = from_remote(app, &job, &options, reference, into, at).await;
            }
        }
        return conclude(job, listener, result).await;
    }
    if !into.seeds.is_empty() {
        return Err(Failure::usage(format!(
            "`{reference}` is in the local registry, which has all its bytes: leave --seed out"
        )));
    }
    let registry = components::registry(&app.home)?;
    let image = images::local(&app.home, reference)?;
    let version = image.version(reference.target.as_ref()).await?;
    resolve::trusted(app, &*image, reference, &version.digest).await?;
    let (job, listener) = app.begin_reading("pull", events, Secrets::default())?;
    let mut result = Ok(());
    for output in into.outputs {
        if result.is_ok() {
            result = match Output::of(output, into.durable, into.force) {
                Ok(output) => export::export(&job, &*registry, &version, output, into.format).await,
                Err(failure) => Err(failure),
            };
        }
    }
    conclude(job, listener, result).await
}

/// Writes the disk of a registry's version; what is at hand of it is not moved.
async fn from_remote(
    app: &App,
    job: &Job,
    options: &RemoteOptions,
    reference: &Reference,
    into: &PullOutput<'_>,
    at: usize,
) -> Result<(), Failure> {
    let target = images::remote_target(reference)?;
    let output = Output::of(&into.outputs[at], into.durable, into.force)?;
    let format = output.format(into.format)?;
    let repository = images::repository(job, options, reference).await?;
    let finding = RemoteVersion::find(&repository, &target);
    let version = job.cancel().run(finding).await.map_err(BuildError::from)??;
    let digest = version.digest().clone();
    let image = RemoteImage::new(job, repository);
    job.cancel()
        .run(resolve::trusted(app, &image, reference, &digest))
        .await
        .map_err(BuildError::from)??;
    let whole = if format == ExportFormat::Raw { Whole::Hash } else { Whole::Skip };
    let part = match &output {
        Output::File(file) if format == ExportFormat::Raw => beside(file)?,
        _ => in_cache(job, &version)?,
    };
    let sources = Sources { layout: layout(job)?, seeds: seeds(&output, format, into, at), whole };
    let pulled = pull(job, version, part, sources).await?;
    let raw = pulled.part.path();
    let file = match &output {
        Output::File(file) => file,
        Output::Target(to) => {
            let stage = Arc::new(job.events().stage(Stage::Export, to.name()));
            return to.write(job, &digest, raw, format, stage).await;
        }
    };
    file.convert(job, &digest, raw, format, pulled.sha256.clone()).await?;
    if format != ExportFormat::Raw {
        imgbake_runtime::job::remove_path(raw)?;
    }
    Ok(())
}

/// Where the raw disk is written that will be a file: beside it. A later pull goes on with it.
fn beside(file: &OutputFile) -> Result<Part, Failure> {
    Part::open(&file.hidden("part"))?.ok_or_else(|| {
        let what = format!("another pull writes {} now", file.path());
        BuildError::new(BuildErrorKind::Refused, what).help("wait for its end").into()
    })
}

/// Where the raw disk is written that is to be converted or written elsewhere: in the cache. A later pull goes
/// on with it.
fn in_cache(job: &Job, version: &RemoteVersion) -> Result<Part, Failure> {
    let dir = job.home().cache().join("transfers");
    fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
    if let Some(part) = Part::open(&dir.join(format!("{}.raw", version.disk().hex())))? {
        return Ok(part);
    }
    // Another pull writes the same disk for a file of its own.
    let path = job.work().join("pull.raw");
    let part = Part::open(&path)?;
    part.ok_or_else(|| Failure::internal(format!("{path} is somebody else's")))
}

/// The local registry, if there is one.
fn layout(job: &Job) -> Result<Option<Layout>, Failure> {
    match Layout::open_existing(job.home().registry()) {
        Err(error) if error.kind() == BuildErrorKind::NotFound => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

/// The disks at hand: those that were given, and what is under the file's name now.
fn seeds(output: &Output, format: ExportFormat, into: &PullOutput<'_>, at: usize) -> Vec<Seed> {
    let written = into.outputs[..at]
        .iter()
        .filter(|path| path.is_file() && matches!(path.extension(), Some("raw" | "img" | "qcow2")));
    let written = written.map(|path| Seed { path: path.clone(), must: false });
    let given = into.seeds.iter().map(|path| Seed { path: path.clone(), must: true });
    let readable = matches!(format, ExportFormat::Raw | ExportFormat::Qcow2);
    let old = match output {
        Output::File(file) => Some(file.path()).filter(|path| readable && path.is_file()),
        Output::Target(_) => None,
    };
    written.chain(given).chain(old.map(|path| Seed { path, must: false })).collect()
}

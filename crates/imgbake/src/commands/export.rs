//! A version's bytes in a disk format: as a file with its checksum beside it, or into what is there already.

mod convert;
mod file;
mod output;
mod target;

use std::fs::File;
use std::sync::Arc;

use camino::Utf8Path;
use imgbake_build::{BuildError, Registry, Whole};
use imgbake_disk::ExportFormat;
use imgbake_runtime::error::io_at;
use imgbake_runtime::journal::Entry;
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Stage};

use crate::failure::Failure;
use convert::convert;
pub(super) use file::{Durable, OutputFile};
pub(super) use output::Output;

/// Writes a version to `output`. A file gets its name when all of it is there and proved.
pub(super) async fn export(
    job: &Job,
    registry: &dyn Registry,
    version: &VersionView,
    output: Output,
    format: Option<ExportFormat>,
) -> Result<(), Failure> {
    let format = output.format(format)?;
    let file = match output {
        Output::File(file) => file,
        Output::Target(target) => {
            let stage = Arc::new(job.events().stage(Stage::Export, target.name()));
            let raw = job.work().join("export.raw");
            restore(job, registry, version, &raw, Whole::Hash, &stage).await?;
            return target.write(job, &version.digest, &raw, format, stage).await;
        }
    };
    let stage = Arc::new(job.events().stage(Stage::Export, &file.name));
    // In the journal, so that a kill leaves nothing.
    let part = file.hidden(job.id());
    job.record(&Entry::Path { path: part.clone() })?;
    let raw =
        if format == ExportFormat::Raw { part.clone() } else { job.work().join("export.raw") };
    // A raw file is the disk, and its digest is written down beside it.
    let whole = if format == ExportFormat::Raw { Whole::Hash } else { Whole::Skip };
    let known = restore(job, registry, version, &raw, whole, &stage).await?;
    if format != ExportFormat::Raw {
        convert(job, &version.digest, &raw, &part, format, &stage).await?;
        imgbake_runtime::job::remove_path(&raw)?;
    }
    file.give(job, &part, known, format, stage).await
}

async fn restore(
    job: &Job,
    registry: &dyn Registry,
    version: &VersionView,
    raw: &Utf8Path,
    whole: Whole,
    stage: &Arc<StageGuard>,
) -> Result<Option<Digest>, Failure> {
    stage.status("reading the version");
    let file = File::create(raw).map_err(io_at("make", raw))?;
    let (seen, total) = (Arc::clone(stage), version.disk.virtual_size);
    let progress = Box::new(move |done| seen.progress(done, Some(total)));
    let restoring = registry.restore(&version.digest, file, whole, progress);
    Ok(job.cancel().run(restoring).await.map_err(BuildError::from)??)
}

//! A raw disk in another format.

use std::sync::Arc;

use camino::Utf8Path;
use imgbake_build::BuildError;
use imgbake_build::capture::disk_error;
use imgbake_disk::image::DiskFormat;
use imgbake_disk::{DiskImage, DiskSource, ExportFormat, ExportOptions};
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::Digest;

use crate::failure::Failure;

/// Writes a version's raw disk as a file of a format.
pub(super) async fn convert(
    job: &Job,
    version: &Digest,
    raw: &Utf8Path,
    part: &Utf8Path,
    format: ExportFormat,
    stage: &Arc<StageGuard>,
) -> Result<(), Failure> {
    stage.status(format!("writing {format}"));
    // Identifiers in the file derive from the version: the same version gives the same bytes.
    let options = ExportOptions::new(version.to_string());
    let (raw, to, seen) = (raw.to_owned(), part.to_owned(), Arc::clone(stage));
    let work = tokio::task::spawn_blocking(move || {
        let disk = DiskImage::open_as(&raw, DiskFormat::Raw)?;
        let (mut done, total) = (0, disk.virtual_size());
        imgbake_disk::export(&disk, format, &to, &options, &mut |more| {
            done += more;
            seen.progress(done, Some(total));
        })
    });
    let ended = job.cancel().run(work).await.map_err(BuildError::from)?;
    let ended =
        ended.map_err(|error| Failure::internal(format!("the export did not end: {error}")))?;
    Ok(ended.map_err(disk_error)?)
}

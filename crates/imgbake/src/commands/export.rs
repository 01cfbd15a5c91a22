//! A version's bytes as a file in a disk format, with its checksum beside it.

use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::disk_error;
use imgbake_build::{BuildError, Registry, Whole};
use imgbake_disk::image::DiskFormat;
use imgbake_disk::{DiskImage, DiskSource, ExportFormat, ExportOptions};
use imgbake_runtime::error::io_at;
use imgbake_runtime::journal::{Entry, sync_dir};
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Reference, Stage};
use sha2::Digest as _;

use crate::failure::Failure;

/// Writes a version to `output`. The file gets its name when all of it is there.
pub(super) async fn export(
    job: &Job,
    registry: &dyn Registry,
    version: &VersionView,
    output: &Utf8Path,
    format: Option<ExportFormat>,
) -> Result<(), Failure> {
    let format = format.map_or_else(|| format_of(output), Ok)?;
    let place = Place::of(output)?;
    let stage = Arc::new(job.events().stage(Stage::Export, &place.name));
    // In the journal, so that a kill leaves nothing.
    let part = place.hidden(job.id());
    job.record(&Entry::Path { path: part.clone() })?;
    let raw =
        if format == ExportFormat::Raw { part.clone() } else { job.work().join("export.raw") };
    // A raw file is the disk: it is hashed while it is written.
    let whole = if format == ExportFormat::Raw { Whole::Hash } else { Whole::Skip };
    let known = restore(job, registry, version, &raw, whole, &stage).await?;
    if format != ExportFormat::Raw {
        convert(job, &version.digest, &raw, &part, format, &stage).await?;
        imgbake_runtime::job::remove_path(&raw)?;
    }
    place.give(job, &part, known, format, stage).await
}

/// Where a file shall be.
pub(super) struct Place {
    dir: Utf8PathBuf,
    /// The file's name.
    name: String,
}

impl Place {
    /// Finds the folder, and makes it where there is none.
    pub(super) fn of(output: &Utf8Path) -> Result<Self, Failure> {
        let name = output
            .file_name()
            .ok_or_else(|| Failure::usage(format!("`{output}` is no file's name")))?;
        let dir = match output.parent() {
            Some(dir) if !dir.as_str().is_empty() => dir.to_owned(),
            _ => Utf8PathBuf::from("."),
        };
        fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
        let dir = dir.canonicalize_utf8().map_err(io_at("find the folder", &dir))?;
        Ok(Self { dir, name: name.to_owned() })
    }

    /// The file.
    pub(super) fn path(&self) -> Utf8PathBuf {
        self.dir.join(&self.name)
    }

    /// A file beside it, so that the name comes by a rename.
    pub(super) fn hidden(&self, suffix: &str) -> Utf8PathBuf {
        self.dir.join(format!(".{}.{suffix}", self.name))
    }

    /// Makes the raw disk the file.
    pub(super) async fn convert(
        &self,
        job: &Job,
        version: &Digest,
        raw: &Utf8Path,
        format: ExportFormat,
        known: Option<Digest>,
    ) -> Result<(), Failure> {
        let stage = Arc::new(job.events().stage(Stage::Export, &self.name));
        if format == ExportFormat::Raw {
            return self.give(job, raw, known, format, stage).await;
        }
        let part = self.hidden(job.id());
        job.record(&Entry::Path { path: part.clone() })?;
        convert(job, version, raw, &part, format, &stage).await?;
        self.give(job, &part, None, format, stage).await
    }

    /// Gives a whole file its name; its digest is computed where it is not known.
    async fn give(
        &self,
        job: &Job,
        part: &Utf8Path,
        known: Option<Digest>,
        format: ExportFormat,
        stage: Arc<StageGuard>,
    ) -> Result<(), Failure> {
        let (digest, bytes) = name_it(job, part, &self.path(), known).await?;
        if let Some(stage) = Arc::into_inner(stage) {
            stage.finish(bytes, format!("{format}, sha256 {}", digest.short()));
        }
        Ok(())
    }
}

/// The format that a file's extension names.
pub(super) fn format_of(output: &Utf8Path) -> Result<ExportFormat, Failure> {
    let known = || ExportFormat::ALL.map(|format| format.to_string()).join(", ");
    let extension = output.extension().unwrap_or_default();
    extension.parse().map_err(|_| {
        Failure::usage(format!(
            "`{output}` does not tell its format: end it in one of {}, or give --format",
            known()
        ))
    })
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

async fn convert(
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

/// Writes the checksum file, gives both files their names, and gives the digest and size. A digest
/// that is known already is not computed again.
async fn name_it(
    job: &Job,
    part: &Utf8Path,
    output: &Utf8Path,
    known: Option<Digest>,
) -> Result<(Digest, u64), Failure> {
    let path = part.to_owned();
    let hashing = tokio::task::spawn_blocking(move || match known {
        Some(digest) => {
            let file = File::open(&path)?;
            file.sync_all()?;
            Ok((digest, file.metadata()?.len()))
        }
        None => hash(&path),
    });
    let hashed = job.cancel().run(hashing).await.map_err(BuildError::from)?;
    let hashed =
        hashed.map_err(|error| Failure::internal(format!("hashing did not end: {error}")))?;
    let (digest, bytes) = hashed.map_err(io_at("read", part))?;
    let dir = output.parent().unwrap_or(Utf8Path::new("."));
    let sums = Utf8PathBuf::from(format!("{output}.sha256"));
    let line = format!("{}  {}\n", digest.hex(), output.file_name().unwrap_or_default());
    fs::rename(part, output).map_err(io_at("name", output))?;
    fs::write(&sums, line).map_err(io_at("write", &sums))?;
    sync_dir(dir)?;
    Ok((digest, bytes))
}

fn hash(path: &Utf8Path) -> std::io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    let (mut sha256, mut bytes) = (sha2::Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((Digest::from_sha256(&sha256.finalize()), bytes));
        }
        sha256.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// The version that a reference names, for commands that work on one.
pub(super) async fn resolve(
    registry: &dyn Registry,
    reference: &Reference,
) -> Result<VersionView, Failure> {
    local(reference)?;
    Ok(registry.resolve(reference).await?)
}

/// Refuses a reference to a registry that this imgbake cannot reach.
pub(super) fn local(reference: &Reference) -> Result<(), Failure> {
    match &reference.host {
        None => Ok(()),
        Some(host) => Err(Failure::usage(format!(
            "`{reference}` names the registry {host}: this command knows the local registry only"
        ))),
    }
}

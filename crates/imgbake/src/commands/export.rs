//! A version's bytes as a file in a disk format, with its checksum beside it.

use std::fs::{self, File, FileType};
use std::io::Read;
use std::os::unix::fs::FileTypeExt as _;
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
use imgbake_types::{Digest, Stage};
use sha2::Digest as _;

use crate::failure::Failure;

/// Writes a version to `output`. The file gets its name when all of it is there and proved.
pub(super) async fn export(
    job: &Job,
    registry: &dyn Registry,
    version: &VersionView,
    output: &Utf8Path,
    format: Option<ExportFormat>,
    durable: Durable,
) -> Result<(), Failure> {
    let format = format.map_or_else(|| format_of(output), Ok)?;
    let file = OutputFile::of(output, durable)?;
    let stage = Arc::new(job.events().stage(Stage::Export, &file.name));
    // In the journal, so that a kill leaves nothing.
    let part = file.hidden(job.id());
    job.record(&Entry::Path { path: part.clone() })?;
    let raw =
        if format == ExportFormat::Raw { part.clone() } else { job.work().join("export.raw") };
    // A raw file is the disk, each chunk of which is proved: only a digest that nobody knows is computed.
    let known = version.disk.sha256.clone().filter(|_| format == ExportFormat::Raw);
    let unknown = format == ExportFormat::Raw && known.is_none();
    let whole = if unknown { Whole::Hash } else { Whole::Skip };
    let known = restore(job, registry, version, &raw, whole, &stage).await?.or(known);
    if format != ExportFormat::Raw {
        convert(job, &version.digest, &raw, &part, format, &stage).await?;
        imgbake_runtime::job::remove_path(&raw)?;
    }
    file.give(job, &part, known, format, stage).await
}

/// Whether a file's bytes are on the disk, and not only with the system, before it gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// A power failure soon after takes nothing back.
    Yes,
    /// The system writes them when it likes.
    No,
}

/// Where a file shall be.
pub(super) struct OutputFile {
    dir: Utf8PathBuf,
    /// The file's name.
    name: String,
    durable: Durable,
}

impl OutputFile {
    /// Finds the folder, and makes it where there is none. A link leads to the file that it names.
    ///
    /// # Errors
    /// Something else than a file has the name: a rename would put a file in the place of a device.
    pub(super) fn of(output: &Utf8Path, durable: Durable) -> Result<Self, Failure> {
        let linked = output.is_symlink().then(|| output.canonicalize_utf8());
        let linked = linked.transpose().map_err(io_at("follow the link", output))?;
        let output = linked.as_deref().unwrap_or(output);
        if let Ok(metadata) = fs::symlink_metadata(output)
            && !metadata.is_file()
        {
            let what = kind_of(metadata.file_type());
            return Err(Failure::usage(format!(
                "`{output}` is {what}: give the name of a file, which is made or replaced"
            )));
        }
        let name = output
            .file_name()
            .ok_or_else(|| Failure::usage(format!("`{output}` is no file's name")))?;
        let dir = match output.parent() {
            Some(dir) if !dir.as_str().is_empty() => dir.to_owned(),
            _ => Utf8PathBuf::from("."),
        };
        fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
        let dir = dir.canonicalize_utf8().map_err(io_at("find the folder", &dir))?;
        Ok(Self { dir, name: name.to_owned(), durable })
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
        stage.status("giving it its name");
        let (digest, bytes) = self.name_it(job, part, known).await?;
        if let Some(stage) = Arc::into_inner(stage) {
            stage.finish(bytes, format!("{format}, sha256 {}", digest.short()));
        }
        Ok(())
    }

    /// Gives both files, the disk and its checksums, their names; gives the disk file's digest and size.
    async fn name_it(
        &self,
        job: &Job,
        part: &Utf8Path,
        known: Option<Digest>,
    ) -> Result<(Digest, u64), Failure> {
        let (path, durable) = (part.to_owned(), self.durable);
        let reading = tokio::task::spawn_blocking(move || settle(&path, known, durable));
        let read = job.cancel().run(reading).await.map_err(BuildError::from)?;
        let read =
            read.map_err(|error| Failure::internal(format!("hashing did not end: {error}")))?;
        let (digest, bytes) = read.map_err(io_at("read", part))?;
        let output = self.path();
        let sums = Utf8PathBuf::from(format!("{output}.sha256"));
        let line = format!("{}  {}\n", digest.hex(), self.name);
        fs::rename(part, &output).map_err(io_at("name", &output))?;
        fs::write(&sums, line).map_err(io_at("write", &sums))?;
        if self.durable == Durable::Yes {
            File::open(&sums).and_then(|sums| sums.sync_all()).map_err(io_at("write", &sums))?;
            sync_dir(&self.dir)?;
        }
        Ok((digest, bytes))
    }
}

/// What a path names that is no file.
fn kind_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_block_device() {
        "a block device"
    } else if kind.is_char_device() {
        "a device"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a socket"
    }
}

/// The format that a file's extension names.
pub(super) fn format_of(output: &Utf8Path) -> Result<ExportFormat, Failure> {
    let known = || ExportFormat::ALL.map(|format| format.to_string()).join(", ");
    let extension = output.extension().unwrap_or_default();
    extension.parse().map_err(|_| {
        Failure::usage(format!(
            "`{output}` has no known extension: end it in one of {}, or give --format",
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

/// Reads a whole file where its digest is not known, and waits for the disk where that is wanted.
fn settle(
    path: &Utf8Path,
    known: Option<Digest>,
    durable: Durable,
) -> std::io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let digest = known.map_or_else(|| hash(&mut file), Ok)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    Ok((digest, file.metadata()?.len()))
}

fn hash(file: &mut File) -> std::io::Result<Digest> {
    let mut sha256 = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest::from_sha256(&sha256.finalize()));
        }
        sha256.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().canonicalize_utf8().unwrap();
        let of = |path: &Utf8Path| OutputFile::of(path, Durable::No);
        let _listening = std::os::unix::net::UnixListener::bind(dir.join("s.raw")).unwrap();
        fs::create_dir(dir.join("d.raw")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.join("n.raw")).unwrap();
        for (name, what) in [("s.raw", "a socket"), ("d.raw", "a folder"), ("n.raw", "a device")] {
            let failure = of(&dir.join(name)).err().unwrap();
            assert!(failure.summary().contains(what), "{}", failure.summary());
        }
        fs::create_dir(dir.join("there")).unwrap();
        fs::write(dir.join("there/t.raw"), "old").unwrap();
        std::os::unix::fs::symlink("there/t.raw", dir.join("link.raw")).unwrap();
        for (given, meant) in [
            ("link.raw", "there/t.raw"),
            ("there/t.raw", "there/t.raw"),
            ("new/n.raw", "new/n.raw"),
        ] {
            assert_eq!(of(&dir.join(given)).unwrap().path(), dir.join(meant));
        }
    }
}

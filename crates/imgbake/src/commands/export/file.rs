//! A disk as a file of its own, with its checksum beside it.

use std::fs::{self, File};
use std::io::Read;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::BuildError;
use imgbake_disk::ExportFormat;
use imgbake_runtime::error::io_at;
use imgbake_runtime::journal::{Entry, sync_dir};
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::{Digest, Stage};
use sha2::Digest as _;

use super::convert::convert;
use crate::failure::Failure;

/// Whether a file's bytes are on the disk, and not only with the system, before it gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum Durable {
    /// A power failure soon after takes nothing back.
    Yes,
    /// The system writes them when it likes.
    No,
}

/// Where a file shall be.
pub(in crate::commands) struct OutputFile {
    dir: Utf8PathBuf,
    /// The file's name.
    pub(super) name: String,
    durable: Durable,
}

impl OutputFile {
    /// Finds the folder, and makes it where there is none.
    pub(super) fn of(output: &Utf8Path, durable: Durable) -> Result<Self, Failure> {
        let name = output
            .file_name()
            .ok_or_else(|| Failure::usage(format!("`{output}` is no file's name")))?;
        let dir = match output.parent() {
            Some(dir) if !dir.as_str().is_empty() => dir.to_owned(),
            _ => Utf8PathBuf::from("."),
        };
        fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
        let dir = dir.canonicalize_utf8().map_err(io_at("find the folder", &dir))?;
        let file = Self { dir, name: name.to_owned(), durable };
        let sums = Utf8PathBuf::from(format!("{}.sha256", file.path()));
        match fs::symlink_metadata(&sums) {
            Ok(found) if !found.is_file() && !found.is_symlink() => Err(Failure::usage(format!(
                "`{sums}` is no file, and the checksum would be written there"
            ))),
            _ => Ok(file),
        }
    }

    /// The file.
    pub(in crate::commands) fn path(&self) -> Utf8PathBuf {
        self.dir.join(&self.name)
    }

    /// A file beside it, so that the name comes by a rename.
    pub(in crate::commands) fn hidden(&self, suffix: &str) -> Utf8PathBuf {
        self.dir.join(format!(".{}.{suffix}", self.name))
    }

    /// Makes the raw disk the file.
    pub(in crate::commands) async fn convert(
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
    pub(super) async fn give(
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
        let beside = Utf8PathBuf::from(format!("{}.sha256", self.hidden(job.id())));
        job.record(&Entry::Path { path: beside.clone() })?;
        fs::write(&beside, line).map_err(io_at("write", &beside))?;
        fs::rename(part, &output).map_err(io_at("name", &output))?;
        fs::rename(&beside, &sums).map_err(io_at("name", &sums))?;
        if self.durable == Durable::Yes {
            File::open(&sums).and_then(|sums| sums.sync_all()).map_err(io_at("write", &sums))?;
            sync_dir(&self.dir)?;
        }
        Ok((digest, bytes))
    }
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

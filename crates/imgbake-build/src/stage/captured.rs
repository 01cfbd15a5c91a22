//! Capture: the sealed disk, read once, digested, compressed and searched for residues. Of a disk that
//! is based on a version, what it changed is read alone.

use std::sync::Arc;

use camino::Utf8PathBuf;
use imgbake_disk::chunk::ChunkTable;
use imgbake_disk::{DiskError, DiskFormat, DiskImage, DiskSource, Longer};
use imgbake_types::record::Parent;
use imgbake_types::spec::Residue;
use imgbake_types::{Digest, Outcome, Size, Stage};

use super::basis::{self, Basis};
use super::context::{Build, Log};
use super::failure::Failure;
use super::sealed::Sealed;
use crate::capture::{CaptureRequest, Changed, KnownChunks, capture};
use crate::error::disk_error;
use crate::{BuildError, BuildErrorKind, Capture, Hit, MachineDisk, plain};

/// A disk's size is a whole number of these.
const SECTOR: u64 = 512;

/// A captured disk in the job's folder.
pub struct Captured {
    pub(super) capture: Capture,
    pub(super) parent: Parent,
    /// What the disk was based on.
    pub(super) files: Vec<basis::File>,
    /// What the machine's extra disks held: they are in the job's folder.
    pub(super) extra_disks: Vec<Utf8PathBuf>,
    pub(super) log: Log,
}

impl Sealed {
    /// Reads the machine's disk once.
    pub async fn capture(self, build: Build<'_>) -> Result<Captured, Failure> {
        let Self { mut machine, parent, patterns, mut log } = self;
        let stage = Arc::new(build.job.events().stage(Stage::Capture, Stage::Capture.name()));
        let folder = build.job.work().join("capture");
        std::fs::create_dir(&folder)
            .map_err(imgbake_runtime::error::io_at("make the folder", &folder))?;
        let Some(source) = machine.disk() else {
            let error = BuildError::failed("the builder gives no disk that can be captured");
            return Err(Failure::with(machine)(error));
        };
        let tap = build.components.sealer.scanner(patterns);
        let publish = build.plan.publish();
        let plain = publish.plain;
        let cancel = build.job.cancel().clone();
        let seen = Arc::clone(&stage);
        let stored = Stored::find(build, &parent).await;
        let work = tokio::task::spawn_blocking(move || {
            let opened = Opened::open(source).map_err(disk_error)?;
            let size = published_size(opened.source().virtual_size(), publish.disk_size)?;
            let disk = &Longer::new(opened.source(), size);
            let changed = stored.changed(opened.image()).map_err(disk_error)?;
            let progress = |done| seen.progress(done, Some(size));
            let (mut captured, hits) = capture(CaptureRequest {
                disk,
                folder: &folder,
                known: stored.known,
                changed,
                tap,
                cancel: &cancel,
                progress: &progress,
            })?;
            if let Some(format) = plain {
                seen.status(format!("writing the {}", format.extension()));
                let table = Digest::sha256(captured.table.encode());
                captured.plain = Some(plain::write(disk, format, &table, &folder, &cancel)?);
            }
            let files = opened.image().map(basis::look).transpose().map_err(disk_error)?;
            Ok(((captured, hits), files.unwrap_or_default()))
        });
        let done =
            work.await.map_err(|error| BuildError::failed(format!("capture did not end: {error}")));
        let ((captured, hits), files) = match done {
            Ok(Ok(done)) => done,
            Ok(Err(error)) | Err(error) => return Err(Failure::with(machine)(error)),
        };
        let outcome = match judge(&hits, build.plan.seal().residue) {
            Ok(()) if hits.is_empty() => Outcome::Done,
            Ok(()) => Outcome::Warning,
            Err(error) => return Err(Failure::with(machine)(error)),
        };
        if outcome == Outcome::Warning {
            build.job.events().warn(format!("residue in the captured disk: {}", list(&hits)));
        }
        let extra_disks = machine.extra_disks();
        machine.end().await;
        let detail = format!(
            "{} disk, {} of data, {} read, {}",
            Size::bytes(captured.table.virtual_size()).human(),
            Size::bytes(captured.table.data_bytes()).human(),
            Size::bytes(captured.read_bytes).human(),
            captured.sha256.as_ref().map_or_else(
                || "what is stored already is not read".to_owned(),
                |sha256| format!("sha256 {}", sha256.short())
            )
        );
        if let Some(stage) = Arc::into_inner(stage) {
            log.push(stage.end(outcome, captured.new_bytes(), detail));
        }
        Ok(Captured { capture: captured, parent, files, extra_disks, log })
    }
}

/// The size of the disk that is published, in bytes.
fn published_size(machine: u64, wanted: Option<Size>) -> Result<u64, BuildError> {
    let Some(wanted) = wanted else { return Ok(machine) };
    let size = wanted.as_bytes().next_multiple_of(SECTOR);
    if size < machine {
        let words = format!(
            "[publish] disk_size = \"{}\" is smaller than the machine's disk of {}: no disk is cut",
            wanted.human(),
            Size::bytes(machine).human()
        );
        return Err(BuildError::new(BuildErrorKind::Usage, words));
    }
    Ok(size)
}

/// A machine's disk, opened to be read.
enum Opened {
    Image(DiskImage),
    Source(Arc<dyn DiskSource>),
}

impl Opened {
    fn open(disk: MachineDisk) -> Result<Self, DiskError> {
        match disk {
            MachineDisk::File { path, format } => {
                DiskImage::open_as(&path, format).map(Self::Image)
            }
            MachineDisk::Source(source) => Ok(Self::Source(source)),
        }
    }

    fn source(&self) -> &dyn DiskSource {
        match self {
            Self::Image(image) => image,
            Self::Source(source) => &**source,
        }
    }

    /// The image, whose backing chain shows what it has in common with others.
    fn image(&self) -> Option<&DiskImage> {
        match self {
            Self::Image(image) => Some(image),
            Self::Source(_) => None,
        }
    }
}

/// What the registry has that the new version may refer to.
#[derive(Default)]
struct Stored {
    known: KnownChunks,
    /// The parent's table, where the parent is a version.
    parent: Option<Arc<ChunkTable>>,
    /// The image's capture before this one, and its table.
    before: Option<(Basis, Arc<ChunkTable>)>,
}

impl Stored {
    /// Asks the registry. Without it the disk is stored whole: that it cannot be had is reported, and no
    /// error.
    async fn find(build: Build<'_>, parent: &Parent) -> Self {
        let registry = &*build.components.registry;
        let version = (parent.kind == "image").then_some(&parent.digest);
        let known = match registry.known(&build.plan.image.name, version).await {
            Ok(known) => known,
            Err(error) => {
                let words = "what is stored already is not used";
                build.job.events().warn(format!("{words}: {error}"));
                return Self::default();
            }
        };
        let table = async |version: &Digest| registry.table(version).await.ok().map(Arc::new);
        // Every byte is searched for a sensitive value that this build knows: then all of the disk is read, and only
        // stored as far as it is new. A version of another registry is none of this one's.
        let parent = match version.filter(|_| !basis::sensitive(build)) {
            Some(version) => table(version).await,
            None => None,
        };
        let before = match Basis::recall(build) {
            Some(basis) => table(&basis.version).await.map(|table| (basis, table)),
            None => None,
        };
        Self { known, parent, before }
    }

    /// Where alone a disk differs from one that is stored already: from the image's last one, where both
    /// are based on the same layers, else from its parent's, where it is based on the parent's restored file.
    fn changed(&self, disk: Option<&DiskImage>) -> Result<Option<Changed>, DiskError> {
        let Some(disk) = disk else { return Ok(None) };
        if let Some((basis, table)) = &self.before
            && let Some(changed) = basis.changed(disk, table)?
        {
            return Ok(Some(changed));
        }
        let Some(table) = &self.parent else { return Ok(None) };
        let bottom =
            std::iter::successors(Some(disk), |image| image.backing()).last().unwrap_or(disk);
        if bottom.format() != DiskFormat::Raw || bottom.virtual_size() != table.virtual_size() {
            return Ok(None);
        }
        let extents = disk.extents_above(bottom.path())?;
        Ok(extents.map(|extents| Changed { table: Arc::clone(table), extents }))
    }
}

/// Whether a residue check's hits end the build.
fn judge(hits: &[Hit], residue: Residue) -> Result<(), BuildError> {
    let fatal: Vec<Hit> =
        hits.iter().filter(|hit| hit.severe || residue == Residue::Fail).cloned().collect();
    if fatal.is_empty() {
        return Ok(());
    }
    Err(BuildError::failed(format!("the captured disk holds what it must not: {}", list(&fatal))).help(
        "a step wrote it where seal does not clean, or a seal operation was skipped; nothing was published",
    ))
}

fn list(hits: &[Hit]) -> String {
    let mut lines: Vec<String> =
        hits.iter().take(8).map(|hit| format!("{} at byte {}", hit.name, hit.offset)).collect();
    if hits.len() > 8 {
        lines.push(format!("and {} more", hits.len() - 8));
    }
    lines.join("; ")
}

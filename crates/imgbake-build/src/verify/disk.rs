//! The published bytes as a disk.

use std::fs::File;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{DiskFormat, DiskImage, hash};
use imgbake_runtime::StageGuard;
use imgbake_runtime::error::io_at;
use imgbake_types::Digest;
use imgbake_types::record::{Parent, VersionView};
use imgbake_types::spec::ExtraDisks;
use tokio::task::JoinHandle;

use super::request::VerifyRequest;
use crate::error::disk_error;
use crate::{BaseDisk, BuildError, BuildErrorKind, LocalDisk, Whole};

/// The version's bytes as a disk in the job's folder, each chunk proved against the version's digest.
pub(super) async fn restore(
    request: VerifyRequest<'_>,
    stage: &Arc<StageGuard>,
) -> Result<LocalDisk, BuildError> {
    stage.status("reading the published bytes");
    let path: Utf8PathBuf = request.job.work().join("verify.raw");
    let file = File::create_new(&path).map_err(io_at("make", &path))?;
    let (seen, total) = (Arc::clone(stage), request.version.disk.virtual_size);
    let progress = Box::new(move |done| seen.progress(done, Some(total)));
    let version = &request.version.digest;
    let restoring = request.registry.restore(version, file, Whole::Skip, progress);
    request.job.cancel().run(restoring).await??;
    let extra = extra_disks(request);
    Ok(LocalDisk { path, format: DiskFormat::Raw, virtual_size: total, kernel: None, extra })
}

/// What clones have on their extra disks.
fn extra_disks(request: VerifyRequest<'_>) -> Vec<Utf8PathBuf> {
    let proof = &request.version.proof;
    if proof.verify.extra_disks() == ExtraDisks::Empty || proof.machine.extra_disks.is_empty() {
        return Vec::new();
    }
    if request.extra_disks.is_empty() {
        let words = "the clones' extra disks are empty: a version does not hold what its build wrote on them";
        request.job.events().info(words.to_owned());
    }
    request.extra_disks.to_vec()
}

/// The restored disk as what a clone starts from.
pub(super) fn base(request: VerifyRequest<'_>, disk: LocalDisk) -> BaseDisk {
    BaseDisk {
        bytes: disk.virtual_size,
        location: disk.into(),
        parent: Parent {
            reference: None,
            native: None,
            digest: request.version.digest.clone(),
            kind: "image".to_owned(),
        },
        cached: false,
    }
}

/// The SHA-256 of the whole disk, worked out while clones boot from it: they write to overlays of their
/// own, and a machine's firmware leaves the host's other processors idle.
pub(super) struct Hashing(JoinHandle<Result<Digest, BuildError>>);

impl Hashing {
    /// Begins to read a disk.
    pub(super) fn begin(disk: &LocalDisk) -> Self {
        let path = disk.path.clone();
        Self(tokio::task::spawn_blocking(move || whole(&path)))
    }

    /// Waits for the digest, and compares it with the one that the version states, if it states one.
    pub(super) async fn end(self, version: &VersionView) -> Result<Digest, BuildError> {
        let found = self.0.await.map_err(|error| {
            BuildError::failed("hashing the restored disk stopped").because(error)
        })??;
        match &version.disk.sha256 {
            Some(stated) if *stated != found => Err(BuildError::new(
                BuildErrorKind::Failed,
                format!(
                    "the disk of {}:{} is not what was captured: it is {found}, captured was {stated}",
                    version.name, version.version
                ),
            )
            .help("the version is damaged, though each blob is sound: build the image again")),
            _ => Ok(found),
        }
    }
}

fn whole(path: &Utf8Path) -> Result<Digest, BuildError> {
    let disk = DiskImage::open_as(path, DiskFormat::Raw).map_err(disk_error)?;
    let sha256 = hash::hash_disk(&disk, &mut |_| {}).map_err(disk_error)?;
    Ok(Digest::from_sha256(&sha256))
}

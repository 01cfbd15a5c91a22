//! What a capture can take over from the one before: both disks are based on the same layers, so that they
//! differ only in what either holds above these.
//!
//! After each capture it is kept which version came of it, and of every file that the disk was based on, its
//! stamp and what the disk held above it: `IMGBAKE_HOME/cache/captures/<digest of the image's name>.json`.
//! A file with the same stamp was not touched since (see `cache/proof.rs`).

use std::sync::Arc;

use camino::Utf8PathBuf;
use imgbake_disk::chunk::ChunkTable;
use imgbake_disk::{DiskError, DiskImage, Extent};
use imgbake_types::Digest;
use serde::{Deserialize, Serialize};

use super::context::Build;
use crate::cache::{CacheMode, Stamp};
use crate::capture::Changed;
use crate::state_file;

/// The longest record that is read, in bytes: some 100,000 extents.
const MOST: u64 = 4 << 20;

/// A capture and what its disk was based on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Basis {
    /// The version that came of it.
    pub(super) version: Digest,
    /// The files that the disk was based on, the nearest first.
    files: Vec<File>,
}

/// A file that a disk is based on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct File {
    stamp: Stamp,
    /// What the disk holds above it: offset and length, in bytes.
    above: Vec<(u64, u64)>,
}

impl Basis {
    /// The image's capture before this one; none where earlier builds shall not count.
    pub(super) fn recall(build: Build<'_>) -> Option<Self> {
        wanted(build).then(|| state_file::recall(&path(build), MOST))?
    }

    /// Where alone a disk differs from the one that was captured then, whose table is given; `None`
    /// where they have no file in common.
    pub(super) fn changed(
        &self,
        disk: &DiskImage,
        table: &Arc<ChunkTable>,
    ) -> Result<Option<Changed>, DiskError> {
        for below in backing(disk) {
            let Some(stamp) = Stamp::settled(below.path()) else { continue };
            let Some(file) = self.files.iter().find(|file| file.stamp == stamp) else { continue };
            let before = file.above.iter().map(|&(offset, len)| Extent { offset, len });
            let now = disk.extents_above(below.path())?.into_iter().flatten();
            let extents = before.chain(now).collect();
            return Ok(Some(Changed { table: Arc::clone(table), extents }));
        }
        Ok(None)
    }
}

/// What a disk is based on, for the capture after this one.
pub(super) fn look(disk: &DiskImage) -> Result<Vec<File>, DiskError> {
    let mut files = Vec::new();
    for below in backing(disk) {
        if let (Some(stamp), Some(above)) =
            (Stamp::settled(below.path()), disk.extents_above(below.path())?)
        {
            let above = above.iter().map(|extent| (extent.offset, extent.len)).collect();
            files.push(File { stamp, above });
        }
    }
    Ok(files)
}

/// Keeps what a version's disk was based on.
pub(super) fn keep(build: Build<'_>, version: &Digest, files: Vec<File>) {
    if wanted(build) && !files.is_empty() {
        state_file::keep(build.job, &path(build), &Basis { version: version.clone(), files });
    }
}

/// Whether a disk may be captured by what changed. Not without layers, and not where a step inserts a
/// sensitive value: then every byte is searched for it.
fn wanted(build: Build<'_>) -> bool {
    build.layers.is_some_and(|layers| layers.mode != CacheMode::Off) && !sensitive(build)
}

/// Whether a step inserts a sensitive value.
pub(super) fn sensitive(build: Build<'_>) -> bool {
    build.plan.steps.iter().any(|step| !step.secrets.is_empty())
}

fn path(build: Build<'_>) -> Utf8PathBuf {
    let name = Digest::sha256(format!("{}/{}", build.plan.image.name, build.plan.image.arch));
    build.job.home().cache().join("captures").join(format!("{}.json", name.hex()))
}

/// The files below a disk's own, the nearest first.
fn backing(disk: &DiskImage) -> impl Iterator<Item = &DiskImage> {
    std::iter::successors(disk.backing(), |image| image.backing())
}

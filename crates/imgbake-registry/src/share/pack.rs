//! A layer on its way out: its files packed into blobs, and its documents made.

use std::collections::BTreeSet;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, KnownChunks, NoTap, capture, disk_error};
use imgbake_build::{BuildError, BuildErrorKind, Capture, SharedLayer};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_runtime::Job;
use serde_json::Value;

use super::document::{FileEntry, LayerConfig, is_file_name};
use crate::Result;
use crate::change;
use crate::files::{damaged, io_at};
use crate::oci::{CONFIG, Descriptor, KEY, LAYER, Manifest, PACK, PARENT, TABLE, TITLE};
use crate::store::json;

/// All that a layer is.
#[derive(Debug)]
pub(super) struct PackedLayer {
    /// What the manifest names: chunk tables, packs, and the config.
    pub(super) blobs: Vec<Blob>,
    pub(super) manifest: Manifest,
    /// The packs are here, and go with it.
    _work: tempfile::TempDir,
}

/// A blob that nobody has yet.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    pub(super) content: Content,
}

/// What is in a blob.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    /// A file that is durable already.
    File(Utf8PathBuf),
}

impl Blob {
    fn bytes(media_type: &str, bytes: Vec<u8>) -> Self {
        let digest = imgbake_types::Digest::sha256(&bytes);
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Self { descriptor, content: Content::Bytes(bytes) }
    }
}

impl PackedLayer {
    /// Packs a layer's files; what that makes is in the job's folder.
    pub(super) fn of(job: &Job, layer: &SharedLayer) -> Result<Self> {
        check_names(layer)?;
        let record: Value = serde_json::from_slice(&layer.record)
            .map_err(|error| damaged("the record of a layer is no JSON").because(error))?;
        // What is in the job's folder goes with the job, also where this is killed.
        let work =
            tempfile::tempdir_in(job.work()).map_err(io_at("make a folder in", job.work()))?;
        let folder = Utf8Path::from_path(work.path())
            .ok_or_else(|| damaged(format!("{} is not UTF-8", work.path().display())))?;
        let (mut files, mut blobs) = (Vec::new(), Vec::new());
        for (number, (name, path)) in layer.files.iter().enumerate() {
            let folder = folder.join(number.to_string());
            fs::create_dir(&folder).map_err(io_at("make the folder", &folder))?;
            let (size, capture) = pack(job, path, &folder)?;
            change::settle(&capture)?;
            let table = capture.table.encode();
            let disk = capture.disk_record(&table);
            let own = disk_blobs(&capture, table, name)?;
            files.push(FileEntry { name: name.clone(), size, disk, layers: own.len() });
            blobs.extend(own);
        }
        let layers: Vec<_> = blobs.iter().map(|blob| blob.descriptor.clone()).collect();
        let config = LayerConfig::new(record, files, &layers);
        let config = Blob::bytes(CONFIG, json(&config)?);
        let mut manifest = Manifest::new(LAYER, config.descriptor.clone(), layers);
        manifest.annotations.insert(KEY.to_owned(), layer.key.to_string());
        if let Some(parent) = &layer.parent {
            manifest.annotations.insert(PARENT.to_owned(), parent.to_string());
        }
        blobs.push(config);
        Ok(Self { blobs, manifest, _work: work })
    }
}

fn check_names(layer: &SharedLayer) -> Result<()> {
    let mut seen = BTreeSet::new();
    match layer.files.iter().find(|(name, _)| !is_file_name(name) || !seen.insert(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let why = format!("`{}` cannot be a file of a layer", name.escape_debug());
            Err(BuildError::new(BuildErrorKind::Usage, why))
        }
    }
}

/// A file's size in bytes and its chunks.
fn pack(job: &Job, path: &Utf8Path, folder: &Utf8Path) -> Result<(u64, Capture)> {
    let size = path.metadata().map_err(io_at("read", path))?.len();
    // Whatever it holds, it is taken as it is.
    let disk = DiskImage::open_as(path, DiskFormat::Raw).map_err(disk_error)?;
    let request = CaptureRequest {
        disk: &disk,
        folder,
        known: KnownChunks::default(),
        changed: None,
        tap: Box::new(NoTap),
        cancel: job.cancel(),
        progress: &|_| {},
    };
    let (capture, _) = capture(request)?;
    if capture.table.virtual_size() != size.next_multiple_of(512) {
        return Err(damaged(format!("{path} was changed while it was read")));
    }
    Ok((size, capture))
}

/// A file's chunk table, and every pack that the table names, in its order.
fn disk_blobs(capture: &Capture, table: Vec<u8>, name: &str) -> Result<Vec<Blob>> {
    let mut blobs = vec![Blob::bytes(TABLE, table)];
    for pack in capture.table.packs() {
        let digest = imgbake_types::Digest::from_sha256(&pack.sha256);
        let packed = capture.packs.iter().find(|packed| packed.digest == digest);
        let packed = packed
            .ok_or_else(|| damaged(format!("the pack {digest} of a layer's file was not made")))?;
        blobs.push(Blob {
            descriptor: Descriptor::new(PACK, digest, pack.size),
            content: Content::File(packed.path.clone()),
        });
    }
    for blob in &mut blobs {
        blob.descriptor.annotations.insert(TITLE.to_owned(), name.to_owned());
    }
    Ok(blobs)
}

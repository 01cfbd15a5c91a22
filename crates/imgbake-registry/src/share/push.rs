//! A layer goes into a layout: packed beside it, then brought in as one change.

use std::collections::BTreeSet;
use std::fs;

use camino::Utf8Path;
use imgbake_build::capture::{CaptureRequest, Known, NoTap, capture, disk_error};
use imgbake_build::{BuildError, BuildErrorKind, Capture, SharedLayer};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_runtime::Job;
use serde_json::Value;

use super::{FileEntry, LayerConfig, is_file_name, label};
use crate::Result;
use crate::change::{self, Change};
use crate::files::{damaged, io_at};
use crate::oci::{CONFIG, KEY, LAYER, Manifest, PARENT, RootFs, TITLE};
use crate::publish;
use crate::store::Store;

/// Stores a layer: blobs, manifest, label. Gives the bytes that the layout grew by.
pub(super) fn push(store: &Store, job: &Job, layer: &SharedLayer) -> Result<u64> {
    check_names(layer)?;
    let record: Value = serde_json::from_slice(&layer.record)
        .map_err(|error| damaged("the record of a layer is no JSON").because(error))?;
    // What is in the job's folder goes with the job, also where this is killed.
    let work = tempfile::tempdir_in(job.work()).map_err(io_at("make a folder in", job.work()))?;
    let work = Utf8Path::from_path(work.path())
        .ok_or_else(|| damaged(format!("{} is not UTF-8", work.path().display())))?;
    let mut packed = Vec::new();
    for (number, (name, path)) in layer.files.iter().enumerate() {
        let folder = work.join(number.to_string());
        fs::create_dir(&folder).map_err(io_at("make the folder", &folder))?;
        packed.push((name.as_str(), pack(job, path, &folder)?));
    }
    for (_, (_, capture)) in &packed {
        change::settle(capture)?;
    }
    bring(store, layer, record, &packed)
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
        known: Known::default(),
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

fn bring(
    store: &Store,
    layer: &SharedLayer,
    record: Value,
    packed: &[(&str, (u64, Capture))],
) -> Result<u64> {
    let mut change = Change::begin(store)?;
    let (mut files, mut layers) = (Vec::new(), Vec::new());
    for (name, (size, capture)) in packed {
        let name = (*name).to_owned();
        let table = capture.table.encode();
        let disk = capture.disk_record(&table);
        let own = publish::disk(store, &mut change, capture, table)?;
        files.push(FileEntry { name: name.clone(), size: *size, disk, layers: own.len() });
        layers.extend(own.into_iter().map(|mut descriptor| {
            descriptor.annotations.insert(TITLE.to_owned(), name.clone());
            descriptor
        }));
    }
    let diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
    let config = LayerConfig {
        // A disk overlay runs nowhere by itself.
        architecture: "unknown".to_owned(),
        os: "unknown".to_owned(),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
        record,
        files,
    };
    let config = change.document(CONFIG, &config)?;
    let mut manifest = Manifest::new(LAYER, config, layers);
    manifest.annotations.insert(KEY.to_owned(), layer.key.to_string());
    if let Some(parent) = &layer.parent {
        manifest.annotations.insert(PARENT.to_owned(), parent.to_string());
    }
    let descriptor = change.manifest(&manifest)?;
    change.index.set_label(&label(&layer.key), descriptor);
    let growth = change.growth();
    change.commit()?;
    Ok(growth)
}

//! A layer comes out of a layout: each file is proved while it is written, or nothing stays.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, Whole};
use imgbake_types::Digest;

use super::{FileEntry, LayerConfig, find, is_file_name, label, unusable};
use crate::Result;
use crate::files::{self, damaged, io_at};
use crate::oci::{Descriptor, Manifest};
use crate::restore::{self, Packed};
use crate::store::{Store, json};

/// Writes a layer's files into an empty folder; gives its record.
pub(super) fn pull(
    store: &Store,
    key: &Digest,
    into: &Utf8Path,
    stop: &AtomicBool,
) -> Result<Vec<u8>> {
    let mut entries = into.read_dir_utf8().map_err(io_at("read the folder", into))?;
    if entries.next().is_some() {
        let why = format!("{into} is not empty: a layer is written into an empty folder");
        return Err(BuildError::new(BuildErrorKind::Usage, why));
    }
    let mut made = Vec::new();
    let done = write_all(store, key, into, stop, &mut made);
    if done.is_err() {
        for path in &made {
            files::remove(path)?;
        }
    }
    done.map_err(unusable)
}

fn write_all(
    store: &Store,
    key: &Digest,
    into: &Utf8Path,
    stop: &AtomicBool,
    made: &mut Vec<Utf8PathBuf>,
) -> Result<Vec<u8>> {
    let missing = || {
        let what = format!("{} has no layer of the key {key}", store.root());
        BuildError::new(BuildErrorKind::NotFound, what)
    };
    let manifest = find(store, &store.index()?, key)?.ok_or_else(missing)?;
    let owner = format!("the shared layer {}", label(key));
    let config: LayerConfig = store.blobs.json(&manifest.config, &owner)?;
    let files = layers_of(&config, &manifest).ok_or_else(|| {
        damaged(format!("{owner} has a file whose name, size or parts cannot be"))
    })?;
    for (file, layers) in files {
        let path = into.join(&file.name);
        let mut private = OpenOptions::new();
        let opened = private.read(true).write(true).create_new(true).mode(0o600).open(&path);
        let out = opened.map_err(io_at("make", &path))?;
        made.push(path.clone());
        let packed = Packed {
            label: format!("{owner}, file {}", file.name),
            disk: file.disk.clone(),
            layers: layers.to_vec(),
        };
        restore::unpack(store, packed, &out, Whole::Skip, Box::new(|_| {}), stop)?;
        out.set_len(file.size).map_err(io_at("size", &path))?;
        out.sync_all().map_err(io_at("write", &path))?;
    }
    files::sync_dir(into)?;
    json(&config.record)
}

/// Each file with its layers; `None` where names, sizes or numbers cannot be.
fn layers_of<'a>(
    config: &'a LayerConfig,
    manifest: &'a Manifest,
) -> Option<Vec<(&'a FileEntry, &'a [Descriptor])>> {
    let mut seen = BTreeSet::new();
    let mut rest = &manifest.layers[..];
    let mut files = Vec::new();
    for file in &config.files {
        let whole = file.size.checked_next_multiple_of(512) == Some(file.disk.virtual_size);
        if !whole || !is_file_name(&file.name) || !seen.insert(&file.name) {
            return None;
        }
        let (own, others) = rest.split_at_checked(file.layers)?;
        files.push((file, own));
        rest = others;
    }
    rest.is_empty().then_some(files)
}

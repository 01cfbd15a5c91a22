//! A layer's files come into a folder: each is proved while it is written, or nothing stays.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};

use super::document::{LayerConfig, LayerFile};
use crate::Result;
use crate::files::{self, io_at};
use crate::oci::Manifest;
use crate::restore::Packed;
use crate::store::json;

/// Writes a layer's files into an empty folder; gives its record. `unpack` writes a disk into an empty
/// file. `owner` is the layer, for errors.
pub(super) fn unpack(
    (config, manifest, owner): (&LayerConfig, &Manifest, &str),
    into: &Utf8Path,
    unpack: impl FnMut(Packed, &File) -> Result<()>,
) -> Result<Vec<u8>> {
    let layer = config.files(manifest, owner)?;
    let mut entries = into.read_dir_utf8().map_err(io_at("read the folder", into))?;
    if entries.next().is_some() {
        let why = format!("{into} is not empty: a layer is written into an empty folder");
        return Err(BuildError::new(BuildErrorKind::Usage, why));
    }
    let mut made = Vec::new();
    let done = write_all(layer, into, unpack, &mut made);
    if done.is_err() {
        for path in &made {
            files::remove(path)?;
        }
    }
    done?;
    json(&config.record)
}

fn write_all(
    layer: Vec<LayerFile>,
    into: &Utf8Path,
    mut unpack: impl FnMut(Packed, &File) -> Result<()>,
    made: &mut Vec<Utf8PathBuf>,
) -> Result<()> {
    for file in layer {
        let path = into.join(&file.name);
        let mut private = OpenOptions::new();
        let opened = private.read(true).write(true).create_new(true).mode(0o600).open(&path);
        let out = opened.map_err(io_at("make", &path))?;
        made.push(path.clone());
        unpack(file.packed, &out)?;
        out.set_len(file.size).map_err(io_at("size", &path))?;
        out.sync_all().map_err(io_at("write", &path))?;
    }
    files::sync_dir(into)
}

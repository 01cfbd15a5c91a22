//! A layer's documents: what is written into them, and what is believed of them.

use std::collections::BTreeSet;

use imgbake_types::Digest;
use imgbake_types::record::{DiskRecord, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Result;
use crate::files::damaged;
use crate::oci::{Descriptor, KEY, LAYER, Manifest, RootFs};
use crate::problem::unreadable;
use crate::restore::Packed;

/// The most files of a layer: a disk, a kernel and an initrd are three.
const MOST_FILES: usize = 64;

/// A layer's config: image-spec, config.md, so far as `skopeo inspect` wants it, and two keys of
/// imgbake's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LayerConfig {
    architecture: String,
    os: String,
    rootfs: RootFs,
    /// What the layer's maker says of it.
    #[serde(rename = "io.imgbake.layer")]
    pub(super) record: Value,
    #[serde(rename = "io.imgbake.files")]
    files: Vec<FileEntry>,
    /// The format of the two keys above; layers of before carry none.
    #[serde(rename = "io.imgbake.format", default = "first")]
    format: u32,
}

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

const fn first() -> u32 {
    FORMAT
}

/// One file of a layer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// Its name in the layer's folder.
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// The file as a disk: its size rounded up to whole sectors, with zeros at the end.
    pub(super) disk: DiskRecord,
    /// How many of the manifest's layers are this file's: a chunk table, and its packs.
    pub(super) layers: usize,
}

/// A file of a layer that is stored.
#[derive(Debug)]
pub(super) struct LayerFile {
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) packed: Packed,
}

impl LayerConfig {
    pub(super) fn new(record: Value, files: Vec<FileEntry>, layers: &[Descriptor]) -> Self {
        let diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
        Self {
            // A disk overlay runs nowhere by itself.
            architecture: "unknown".to_owned(),
            os: "unknown".to_owned(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids },
            record,
            files,
            format: FORMAT,
        }
    }

    /// The files, each with its own of the manifest's layers. `owner` is the layer, for errors.
    ///
    /// # Errors
    /// It is of a newer format; names, sizes or numbers cannot be.
    pub(super) fn files(&self, manifest: &Manifest, owner: &str) -> Result<Vec<LayerFile>> {
        if self.format > FORMAT {
            let newer = Problem::Newer { format: Some(self.format), needs: None };
            return Err(unreadable(owner, newer));
        }
        let files = self.files.iter().zip(self.split(manifest).ok_or_else(|| {
            damaged(format!("{owner} has a file whose name, size or parts cannot be"))
        })?);
        let file = |(file, layers): (&FileEntry, &[Descriptor])| LayerFile {
            name: file.name.clone(),
            size: file.size,
            packed: Packed {
                label: format!("{owner}, file {}", file.name),
                disk: file.disk.clone(),
                layers: layers.to_vec(),
            },
        };
        Ok(files.map(file).collect())
    }

    /// Each file's layers; `None` where something cannot be.
    fn split<'a>(&self, manifest: &'a Manifest) -> Option<Vec<&'a [Descriptor]>> {
        let mut seen = BTreeSet::new();
        let mut rest = &manifest.layers[..];
        let mut parts = Vec::new();
        for file in &self.files {
            let whole = file.size.checked_next_multiple_of(512) == Some(file.disk.virtual_size);
            if !whole || !is_file_name(&file.name) || !seen.insert(&file.name) {
                return None;
            }
            let (own, others) = rest.split_at_checked(file.layers)?;
            parts.push(own);
            rest = others;
        }
        (rest.is_empty() && parts.len() <= MOST_FILES).then_some(parts)
    }
}

/// A manifest, where it is that of a key's layer.
pub(super) fn of_key(manifest: Manifest, key: &Digest) -> Option<Manifest> {
    let known = manifest.annotations.get(KEY).is_some_and(|known| *known == key.to_string());
    (manifest.is(LAYER) && known).then_some(manifest)
}

/// Whether a name can be a file's in a layer's folder: one word, no way to elsewhere.
pub(super) fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && !name.contains(|c: char| c == '/' || c.is_control())
}

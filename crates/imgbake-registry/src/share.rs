//! Layers in a layout, for builds on other machines.
//!
//! One manifest a layer, artifact type `application/vnd.imgbake.layer.v1+json`, named
//! `layer-<the first 40 digits of its key>`; the whole key is in the annotation `io.imgbake.layer.key`.
//! Its config says which files there are; its layers are the files' chunk tables and packs, one file
//! after the other (see `imgbake_disk::chunk`: what is zero is in none).

mod pull;
mod push;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, LayerShare, SharedLayer};
use imgbake_runtime::Job;
use imgbake_types::Digest;
use imgbake_types::record::DiskRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Result;
use crate::index::Index;
use crate::layout::{StopOnDrop, blocking};
use crate::oci::{KEY, LAYER, MANIFEST, Manifest, RootFs};
use crate::store::Store;

/// Digits of a key in a layer's name: a tag has at most 128 characters, and 160 bits do not meet.
const DIGITS: usize = 40;

/// Layers in an OCI image layout on disk. Clones are the same store; any number of processes may use
/// one.
#[derive(Debug, Clone)]
pub struct LayoutShare {
    store: Store,
    /// Keys whose layers were found damaged: they count as absent, until they are pushed again.
    damaged: Arc<Mutex<BTreeSet<Digest>>>,
}

/// A layer's config: image-spec, config.md, so far as `skopeo inspect` wants it, and two keys of
/// imgbake's.
#[derive(Debug, Serialize, Deserialize)]
struct LayerConfig {
    architecture: String,
    os: String,
    rootfs: RootFs,
    /// What the layer's maker says of it.
    #[serde(rename = "io.imgbake.layer")]
    record: Value,
    #[serde(rename = "io.imgbake.files")]
    files: Vec<FileEntry>,
}

/// One file of a layer.
#[derive(Debug, Serialize, Deserialize)]
struct FileEntry {
    /// Its name in the layer's folder.
    name: String,
    /// Its size in bytes.
    size: u64,
    /// The file as a disk: its size rounded up to whole sectors, with zeros at the end.
    disk: DiskRecord,
    /// How many of the manifest's layers are this file's: a chunk table, and its packs.
    layers: usize,
}

impl LayoutShare {
    /// Opens the layout in a folder, to push to; where there is none, or an empty one, makes an empty
    /// layout.
    ///
    /// # Errors
    /// The folder holds something else, or cannot be written to.
    pub fn open(root: impl Into<Utf8PathBuf>) -> Result<Self> {
        Store::open(root.into()).map(Self::new)
    }

    /// Opens the layout in a folder, to pull from: nothing is written there.
    ///
    /// # Errors
    /// There is no layout: [`BuildErrorKind::NotFound`].
    pub fn open_existing(root: impl Into<Utf8PathBuf>) -> Result<Self> {
        Store::open_existing(root.into()).map(Self::new)
    }

    fn new(store: Store) -> Self {
        Self { store, damaged: Arc::default() }
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key's label in `index.json`.
fn label(key: &Digest) -> String {
    format!("layer-{}", &key.hex()[..DIGITS])
}

/// A layer's manifest; `None` where there is none of this key.
fn find(store: &Store, index: &Index, key: &Digest) -> Result<Option<Manifest>> {
    let label = label(key);
    let Some(descriptor) = index.label(&label).filter(|found| found.media_type == MANIFEST) else {
        return Ok(None);
    };
    let manifest: Manifest = store.blobs.json(descriptor, &label)?;
    let known = manifest.annotations.get(KEY).is_some_and(|known| *known == key.to_string());
    Ok((manifest.is(LAYER) && known).then_some(manifest))
}

/// Whether a name can be a file's in a layer's folder: one word, no way to elsewhere.
fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && !name.contains(|c: char| c == '/' || c.is_control())
}

#[async_trait]
impl LayerShare for LayoutShare {
    async fn has(&self, keys: &[Digest]) -> Result<Vec<Digest>> {
        let damaged = self.damaged().clone();
        let keys: Vec<Digest> =
            keys.iter().filter(|key| !damaged.contains(*key)).cloned().collect();
        blocking(self.store.clone(), move |store| {
            let index = store.index()?;
            // A layer that cannot be read is none: its step runs.
            let there = |key: &Digest| {
                find(store, &index, key).unwrap_or_else(|error| {
                    tracing::warn!(%error, "a shared layer is damaged");
                    None
                })
            };
            Ok(keys.into_iter().filter(|key| there(key).is_some()).collect())
        })
        .await
    }

    async fn push(&self, job: &Job, layer: SharedLayer) -> Result<u64> {
        let (job, key) = (job.clone(), layer.key.clone());
        let written =
            blocking(self.store.clone(), move |store| push::push(store, &job, &layer)).await?;
        self.damaged().remove(&key);
        Ok(written)
    }

    async fn pull(&self, job: &Job, key: &Digest, into: &Utf8Path) -> Result<Vec<u8>> {
        let stop = StopOnDrop::default();
        let (stopped, into, wanted) = (Arc::clone(&stop.0), into.to_owned(), key.clone());
        let pulling =
            blocking(self.store.clone(), move |store| pull::pull(store, &wanted, &into, &stopped));
        tokio::pin!(pulling);
        let done = tokio::select! {
            done = &mut pulling => done,
            () = job.cancel().cancelled() => {
                stop.0.store(true, Ordering::Relaxed);
                let ended = pulling.await; // until nothing is left of it
                job.cancel().check()?;
                ended
            }
        };
        if matches!(&done, Err(error) if error.kind() == BuildErrorKind::Failed) {
            self.damaged().insert(key.clone());
        }
        done
    }
}

/// The error for what a layer's name leads to and cannot be.
fn unusable(error: BuildError) -> BuildError {
    match error.kind() {
        BuildErrorKind::Failed => {
            error.help("the step runs instead; a build with --cache-to stores its layer anew")
        }
        _ => error,
    }
}

//! Layers in a layout on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, LayerShare, SharedLayer, Whole};
use imgbake_runtime::Job;
use imgbake_types::Digest;

use super::document::{LayerConfig, of_key};
use super::pack::{Content, PackedLayer};
use super::unpack::unpack;
use super::{Damaged, label, unusable};
use crate::change::Change;
use crate::index::Index;
use crate::layout::{StopOnDrop, blocking};
use crate::oci::{MANIFEST, Manifest};
use crate::store::Store;
use crate::{Result, restore};

/// Layers in an OCI image layout on disk. Clones are the same store; any number of processes may use
/// one.
#[derive(Debug, Clone)]
pub struct LayoutShare {
    store: Store,
    damaged: Damaged,
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
        Self { store, damaged: Damaged::default() }
    }
}

#[async_trait]
impl LayerShare for LayoutShare {
    async fn has(&self, job: &Job, keys: &[Digest]) -> Result<Vec<Digest>> {
        let (job, keys) = (job.clone(), self.damaged.others(keys));
        blocking(self.store.clone(), move |store| {
            let index = store.index()?;
            // A layer that cannot be read is none: its step runs.
            let there = |key: &Digest| {
                find(store, &index, key).unwrap_or_else(|error| {
                    job.events().warn(format!("a shared layer is damaged: {error}"));
                    None
                })
            };
            Ok(keys.into_iter().filter(|key| there(key).is_some()).collect())
        })
        .await
    }

    async fn push(&self, job: &Job, layer: SharedLayer) -> Result<u64> {
        let (job, key) = (job.clone(), layer.key.clone());
        let written = blocking(self.store.clone(), move |store| push(store, &job, &layer)).await?;
        self.damaged.mended(&key);
        Ok(written)
    }

    async fn pull(&self, job: &Job, key: &Digest, into: &Utf8Path) -> Result<Vec<u8>> {
        let stop = StopOnDrop::default();
        let (stopped, into, wanted) = (Arc::clone(&stop.0), into.to_owned(), key.clone());
        let pulling = blocking(self.store.clone(), move |store| {
            pull(store, &wanted, &into, &stopped).map_err(unusable)
        });
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
        self.damaged.learn(key, &done);
        done
    }
}

/// A layer's manifest; `None` where there is none of this key.
fn find(store: &Store, index: &Index, key: &Digest) -> Result<Option<Manifest>> {
    let label = label(key);
    let Some(descriptor) = index.label(&label).filter(|found| found.media_type == MANIFEST) else {
        return Ok(None);
    };
    Ok(of_key(store.blobs.json(descriptor, &label)?, key))
}

/// Stores a layer as one change: blobs, manifest, label. Gives the bytes that the layout grew by.
fn push(store: &Store, job: &Job, layer: &SharedLayer) -> Result<u64> {
    let mut packed = PackedLayer::of(job, layer)?;
    let mut change = Change::begin(store)?;
    for blob in packed.blobs.drain(..) {
        let descriptor = blob.descriptor;
        match blob.content {
            Content::Bytes(bytes) => drop(change.bytes(&descriptor.media_type, bytes)),
            Content::File(path) => change.moved(&descriptor.digest, descriptor.size, &path),
        }
    }
    let descriptor = change.manifest(&packed.manifest)?;
    change.index.set_label(&label(&layer.key), descriptor);
    let growth = change.growth();
    change.commit()?;
    Ok(growth)
}

/// Writes a layer's files into an empty folder; gives its record.
fn pull(store: &Store, key: &Digest, into: &Utf8Path, stop: &AtomicBool) -> Result<Vec<u8>> {
    let missing = || {
        let what = format!("{} has no layer of the key {key}", store.root());
        BuildError::new(BuildErrorKind::NotFound, what)
    };
    let manifest = find(store, &store.index()?, key)?.ok_or_else(missing)?;
    let owner = format!("the shared layer {}", label(key));
    let config: LayerConfig = store.blobs.json(&manifest.config, &owner)?;
    unpack((&config, &manifest, &owner), into, |packed, out| {
        restore::unpack(store, packed, out, Whole::Skip, Box::new(|_| {}), stop).map(drop)
    })
}

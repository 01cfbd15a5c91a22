//! A store of layers' disks that builds on other machines share: `--cache-to`, `--cache-from`.

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::Job;
use imgbake_types::Digest;

use crate::BuildError;

/// A layer on its way into a shared store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLayer {
    /// The key of the step whose result it is.
    pub key: Digest,
    /// The key of the layer that its disk is based on.
    pub parent: Option<Digest>,
    /// What is known of it: a JSON document, for everybody to read.
    pub record: Vec<u8>,
    /// Its files, each with its name in the layer's folder. Nobody may write to them meanwhile.
    pub files: Vec<(String, Utf8PathBuf)>,
}

/// A store of layers that others can read. What is in it is whole: a layer that is being pushed is not
/// there yet.
#[async_trait]
pub trait LayerShare: Send + Sync {
    /// Which of these keys are there, in the order given: for a plan's chain of keys, deepest last.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn has(&self, job: &Job, keys: &[Digest]) -> Result<Vec<Digest>, BuildError>;

    /// Stores a layer, whatever stands under its key; durable when it returns. Gives the bytes that the
    /// store grew by: what it has already, of whichever layer, is stored once.
    ///
    /// # Errors
    /// The store cannot be written to, or is full: then nothing of the layer is there.
    async fn push(&self, job: &Job, layer: SharedLayer) -> Result<u64, BuildError>;

    /// Writes a layer's files into an empty folder, holes as holes, and proves them by digest as they
    /// are written. Gives the record: the same JSON, perhaps written otherwise.
    ///
    /// # Errors
    /// The layer is not there, or its bytes are not those that were pushed: then the folder is empty
    /// again.
    async fn pull(&self, job: &Job, key: &Digest, into: &Utf8Path) -> Result<Vec<u8>, BuildError>;
}

//! Layers for builds on other machines, in a layout or in a repository of a registry.
//!
//! One manifest a layer, artifact type `application/vnd.imgbake.layer.v1+json`, named
//! `layer-<the first 40 digits of its key>`; the whole key is in the annotation `io.imgbake.layer.key`.
//! Its config says which files there are; its layers are the files' chunk tables and packs, one file
//! after the other (see `imgbake_disk::chunk`: what is zero is in none).

mod document;
mod layout;
mod pack;
mod remote;
mod unpack;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Digest;

use crate::{Result, tags};

pub use layout::LayoutShare;
pub use remote::RemoteShare;

/// The name of a key's layer: a label in a layout, a tag in a repository.
fn label(key: &Digest) -> String {
    tags::layer(key)
}

/// Keys whose layers were found damaged: they count as absent, until they are pushed again. Clones are
/// the same.
#[derive(Debug, Clone, Default)]
struct Damaged(Arc<Mutex<BTreeSet<Digest>>>);

impl Damaged {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of some keys that were not found damaged.
    fn others(&self, keys: &[Digest]) -> Vec<Digest> {
        let damaged = self.keys();
        keys.iter().filter(|key| !damaged.contains(*key)).cloned().collect()
    }

    /// Remembers how a pull ended.
    fn learn<T>(&self, key: &Digest, pulled: &Result<T>) {
        if matches!(pulled, Err(error) if error.kind() == BuildErrorKind::Failed) {
            self.keys().insert(key.clone());
        }
    }

    /// The layer is there again.
    fn mended(&self, key: &Digest) {
        self.keys().remove(key);
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

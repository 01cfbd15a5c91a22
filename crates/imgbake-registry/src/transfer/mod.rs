//! Moving versions between places: the local layout and repositories of registries.
//!
//! What is moved is a manifest and all that it leads to, byte for byte: nothing here looks into
//! layers. Blobs come first, then manifests, then what refers to them, and the tag last; what is
//! there already is not moved again, so a copy that was cut goes on where it was cut.

pub(crate) mod blob;
mod copy;
pub(crate) mod document;
pub(crate) mod file;
mod local;
pub(crate) mod meter;
mod partial;
pub(crate) mod place;
mod plan;
mod repository;
mod signed;

use std::sync::Arc;

pub use copy::{Copied, copy};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::Job;
use imgbake_types::reference::is_name;

use self::local::LocalPlace;
use self::repository::RemotePlace;
use crate::{Layout, Repository, Result};

/// Where a version is, or shall be: a name in the local layout or in a registry.
#[derive(Debug, Clone)]
pub struct Place(Arc<dyn place::Place>);

impl Place {
    /// A name in a layout.
    ///
    /// # Errors
    /// The name cannot be one; the folder for what is not whole yet cannot be made.
    pub fn local(job: &Job, layout: &Layout, name: &str) -> Result<Self> {
        if !is_name(name) {
            let what = format!("`{}` is no image name", name.escape_debug());
            return Err(BuildError::new(BuildErrorKind::Usage, what));
        }
        Ok(Self(Arc::new(LocalPlace::open(job, layout, name)?)))
    }

    /// A repository of a registry. Which tags it has is asked once: for each command a place of its own.
    pub fn remote(repository: Repository) -> Self {
        Self(Arc::new(RemotePlace::new(repository)))
    }
}

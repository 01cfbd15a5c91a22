//! The two ends of a copy, and what images of either store can do as one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use imgbake_build::{BuildError, BuildErrorKind, Image};
use imgbake_oci::{BodySource, Pushed, RawManifest, Repository};
use imgbake_runtime::Job;
use imgbake_types::reference::is_name;
use imgbake_types::{Digest, Target};

use super::plan::Plan;
use super::signed::Stayed;
use crate::blob::Blob;
use crate::image::{LayoutImage, RemoteImage};
use crate::oci::Descriptor;
use crate::read_blobs::ReadBlobs;
use crate::{Layout, Result};

/// An image that versions can be copied from and to, in the local layout or in a registry.
#[derive(Debug, Clone)]
pub struct End(Arc<dyn Both>);

impl End {
    /// A name in a layout.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn local(layout: &Layout, name: &str) -> Result<Self> {
        if !is_name(name) {
            let what = format!("`{}` is no image name", name.escape_debug());
            return Err(BuildError::new(BuildErrorKind::Usage, what));
        }
        Ok(Self(Arc::new(LayoutImage::new(layout.clone(), name))))
    }

    /// A repository of a registry. Which tags it has is asked once: for each command an end of its own.
    pub fn remote(job: &Job, repository: Repository) -> Self {
        Self(Arc::new(RemoteImage::new(job, repository)))
    }

    pub(super) fn source(&self) -> &dyn Source {
        &*self.0
    }

    pub(super) fn destination(&self) -> &dyn Destination {
        &*self.0
    }
}

/// What can be both ends.
trait Both: Source + Destination {}

impl<T: Source + Destination> Both for T {}

/// An image that versions are copied from.
#[async_trait]
pub(crate) trait Source: Image + fmt::Debug {
    /// Where its blobs are.
    fn blobs(&self) -> &dyn ReadBlobs;

    /// The repository that it is, where it is one: blobs can be mounted from it.
    fn repository(&self) -> Option<&Repository>;

    /// The manifest of a tag or digest; `None` where there is none.
    async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>>;

    /// What refers to a manifest. The manifests themselves may be gone.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>>;

    /// The tags of cosign's that there are, for whichever manifests.
    async fn cosign(&self) -> Result<BTreeSet<String>>;
}

/// An image that versions are copied to.
#[async_trait]
pub(crate) trait Destination: Image + fmt::Debug {
    /// Begins to receive a version.
    async fn receive(&self, job: &Job) -> Result<Box<dyn Incoming>>;
}

/// A version that is coming in: nothing names it before it is whole.
#[async_trait]
pub(crate) trait Incoming: Send + Sync {
    /// Refuses a tag that names something else already.
    async fn check_tag(&self, tag: &str, plan: &Plan) -> Result<()>;

    /// Brings a blob in, if it is not there. Nothing names it yet.
    async fn bring(
        &self,
        blob: &Blob,
        source: &dyn BodySource,
        from: Option<&Repository>,
    ) -> Result<Pushed>;

    /// Brings the manifests in, then what refers to them, then names the last one. Gives the tags of
    /// cosign's that stay as they were.
    async fn finish(&self, plan: &Plan, tag: &str) -> Result<Vec<Stayed>>;
}

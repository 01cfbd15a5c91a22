//! What a place must be able to do.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;
use imgbake_types::{Digest, Target};

use super::blob::Blob;
use super::plan::Plan;
use super::signed::Stayed;
use crate::oci::Descriptor;
use crate::remote::body::{BlobSource, ByteStream};
use crate::remote::upload::Pushed;
use crate::{RawManifest, Repository, Result};

/// A name under which manifests and blobs are.
#[async_trait]
pub(crate) trait Place: std::fmt::Debug + Send + Sync {
    /// What people call it.
    fn label(&self) -> String;

    /// The repository that it is, where it is one: blobs can be mounted from it.
    fn repository(&self) -> Option<&Repository>;

    /// The manifest of a tag or digest; `None` where there is none.
    async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>>;

    /// A piece of a blob; the digest is proved where the piece is all of it, before its last bytes.
    fn read(&self, blob: &Blob, range: Range<u64>) -> ByteStream;

    /// What refers to a manifest. The manifests themselves may be gone.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>>;

    /// The tags of cosign's that there are, for whichever manifests.
    async fn cosign(&self) -> Result<BTreeSet<String>>;

    /// Refuses a tag that names something else already.
    async fn check_tag(&self, tag: &str, plan: &Plan) -> Result<()>;

    /// Brings a blob in, if it is not there. Nothing names it yet.
    async fn bring(
        &self,
        blob: &Blob,
        source: &dyn BlobSource,
        from: Option<&Repository>,
    ) -> Result<Pushed>;

    /// Brings the manifests in, then what refers to them, then names the last one. Gives the tags of
    /// cosign's that stay as they were.
    async fn finish(&self, plan: &Plan, tag: &str) -> Result<Vec<Stayed>>;
}

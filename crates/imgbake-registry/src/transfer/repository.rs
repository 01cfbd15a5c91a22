//! A registry's repository as a place.

use std::ops::Range;

use async_trait::async_trait;
use imgbake_types::{Digest, Target};

use super::blob::Blob;
use super::place::Place;
use super::plan::Plan;
use crate::oci::Descriptor;
use crate::remote::body::{BlobSource, ByteStream};
use crate::remote::manifests::Name;
use crate::remote::upload::Pushed;
use crate::{RawManifest, Repository, Result};

/// A repository of a registry.
#[derive(Debug)]
pub(crate) struct RemotePlace(pub(crate) Repository);

#[async_trait]
impl Place for RemotePlace {
    fn label(&self) -> String {
        self.0.label()
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.0)
    }

    async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>> {
        self.0.manifest(target).await
    }

    fn read(&self, blob: &Blob, range: Range<u64>) -> ByteStream {
        self.0.blob(&blob.digest, blob.size, range)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.0.referrers(subject).await
    }

    async fn check_tag(&self, tag: &str, plan: &Plan) -> Result<()> {
        self.0.refuse_other(tag, &plan.root).await.map(|_| ())
    }

    async fn bring(
        &self,
        blob: &Blob,
        source: &dyn BlobSource,
        from: Option<&Repository>,
    ) -> Result<Pushed> {
        self.0.push_blob((&blob.digest, blob.size), source, from).await
    }

    async fn finish(&self, plan: &Plan, tag: &str) -> Result<()> {
        for planned in &plan.manifests {
            let manifest = &planned.manifest;
            match &planned.subject {
                Some(subject) => self.0.put_referrer(subject, manifest).await?,
                None if self.0.has_manifest(&manifest.digest).await? => {}
                None => {
                    self.0.put_manifest(Name::Digest, manifest).await?;
                }
            }
            if let Some(index) = &planned.index {
                self.0.hold(index, manifest).await?;
            }
        }
        self.0.name_for_good(tag, &plan.root).await
    }
}

//! A registry's repository as a place.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;
use imgbake_types::{Digest, Target};
use tokio::sync::OnceCell;

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
pub(crate) struct RemotePlace {
    repository: Repository,
    /// Its tags, as they were when they were first needed: listing them is dear.
    tags: OnceCell<BTreeSet<String>>,
}

impl RemotePlace {
    pub(crate) fn new(repository: Repository) -> Self {
        Self { repository, tags: OnceCell::new() }
    }
}

#[async_trait]
impl Place for RemotePlace {
    fn label(&self) -> String {
        self.repository.label()
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.repository)
    }

    async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>> {
        self.repository.manifest(target).await
    }

    fn read(&self, blob: &Blob, range: Range<u64>) -> ByteStream {
        self.repository.blob(&blob.digest, blob.size, range)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        self.repository.referrers(subject, &self.tags).await
    }

    async fn check_tag(&self, tag: &str, plan: &Plan) -> Result<()> {
        self.repository.refuse_other(tag, &plan.root).await.map(|_| ())
    }

    async fn bring(
        &self,
        blob: &Blob,
        source: &dyn BlobSource,
        from: Option<&Repository>,
    ) -> Result<Pushed> {
        self.repository.push_blob((&blob.digest, blob.size), source, from).await
    }

    async fn finish(&self, plan: &Plan, tag: &str) -> Result<()> {
        for planned in &plan.manifests {
            let manifest = &planned.manifest;
            match &planned.subject {
                Some(subject) => self.repository.put_referrer(subject, manifest).await?,
                None if self.repository.has_manifest(&manifest.digest).await? => {}
                None => {
                    self.repository.put_manifest(Name::Digest, manifest).await?;
                }
            }
            if let Some(index) = &planned.index {
                self.repository.hold(index, manifest).await?;
            }
        }
        self.repository.name_for_good(tag, &plan.root).await
    }
}

//! A registry's repository as a place.

use std::collections::BTreeSet;
use std::ops::Range;

use async_trait::async_trait;
use imgbake_types::{Digest, Target};
use tokio::sync::OnceCell;

use super::blob::Blob;
use super::place::Place;
use super::plan::Plan;
use super::signed::{Fate, Signed, Stayed};
use crate::oci::Descriptor;
use crate::remote::body::{BlobSource, ByteStream};
use crate::remote::manifests::Name;
use crate::remote::upload::Pushed;
use crate::{RawManifest, Repository, Result, tags};

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

    /// Points a tag of cosign's at what came, if nothing that it has gets lost. As with cosign itself,
    /// of two who write it at once the last one wins.
    async fn sign(&self, signed: &Signed) -> Result<Option<Stayed>> {
        let there = self.repository.manifest(&Target::Tag(signed.tag.clone())).await?;
        match signed.fate(there.as_ref().map(|there| (&there.digest, &there.bytes[..]))) {
            Fate::Has => Ok(None),
            Fate::Stays(stayed) => Ok(Some(stayed)),
            Fate::Moves => {
                self.repository.put_manifest(Name::Tag(&signed.tag), &signed.manifest).await?;
                Ok(None)
            }
        }
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

    async fn cosign(&self) -> Result<BTreeSet<String>> {
        let tags = self.tags.get_or_try_init(|| self.repository.tags()).await?;
        Ok(tags.iter().filter(|tag| tags::is_cosign(tag)).cloned().collect())
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

    async fn finish(&self, plan: &Plan, tag: &str) -> Result<Vec<Stayed>> {
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
        let mut stayed = Vec::new();
        for signed in &plan.signed {
            stayed.extend(self.sign(signed).await?);
        }
        self.repository.name_for_good(tag, &plan.root).await?;
        Ok(stayed)
    }
}

//! An image in a registry as an end of a copy.

use std::collections::BTreeSet;

use async_trait::async_trait;
use imgbake_oci::{BodySource, ManifestName, Pushed, RawManifest, Repository};
use imgbake_runtime::Job;
use imgbake_types::{Digest, Target};

use super::end::{Destination, Incoming, Source};
use super::plan::Plan;
use super::signed::{Fate, Signed, Stayed};
use crate::blob::Blob;
use crate::image::RemoteImage;
use crate::oci::Descriptor;
use crate::read_blobs::ReadBlobs;
use crate::{Result, tags};

/// A version on its way into a repository.
#[derive(Debug)]
struct RemoteIncoming(Repository);

impl RemoteIncoming {
    /// Points a tag of cosign's at what came, if nothing that it has gets lost. As with cosign itself,
    /// of two who write it at once the last one wins.
    async fn sign(&self, signed: &Signed) -> Result<Option<Stayed>> {
        let there = self.0.manifest(&Target::Tag(signed.tag.clone())).await?;
        match signed.fate(there.as_ref().map(|there| (&there.digest, &there.bytes[..]))) {
            Fate::Has => Ok(None),
            Fate::Stays(stayed) => Ok(Some(stayed)),
            Fate::Moves => {
                self.0.put_manifest(ManifestName::Tag(&signed.tag), &signed.manifest).await?;
                Ok(None)
            }
        }
    }
}

#[async_trait]
impl Source for RemoteImage {
    fn blobs(&self) -> &dyn ReadBlobs {
        &self.repository
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.repository)
    }

    async fn manifest(&self, target: &Target) -> Result<Option<RawManifest>> {
        Ok(self.repository.manifest(target).await?)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
        Ok(self.repository.referrers(subject, &self.tags).await?)
    }

    async fn cosign(&self) -> Result<BTreeSet<String>> {
        let tags = self.tags.get_or_try_init(|| self.repository.tags()).await?;
        Ok(tags.iter().filter(|tag| tags::is_cosign(tag)).cloned().collect())
    }
}

#[async_trait]
impl Destination for RemoteImage {
    async fn receive(&self, _job: &Job) -> Result<Box<dyn Incoming>> {
        Ok(Box::new(RemoteIncoming(self.repository.clone())))
    }
}

#[async_trait]
impl Incoming for RemoteIncoming {
    async fn check_tag(&self, tag: &str, plan: &Plan) -> Result<()> {
        self.0.refuse_other(tag, &plan.root).await?;
        Ok(())
    }

    async fn bring(
        &self,
        blob: &Blob,
        source: &dyn BodySource,
        from: Option<&Repository>,
    ) -> Result<Pushed> {
        // Blobs can be mounted from repositories of the same registry.
        let from = from.filter(|from| from.remote().host() == self.0.remote().host());
        Ok(self.0.push_blob((&blob.digest, blob.size), source, from).await?)
    }

    async fn finish(&self, plan: &Plan, tag: &str) -> Result<Vec<Stayed>> {
        for planned in &plan.manifests {
            let manifest = &planned.manifest;
            match &planned.subject {
                Some(subject) => self.0.put_referrer(subject, manifest).await?,
                None if self.0.has_manifest(&manifest.digest).await? => {}
                None => {
                    self.0.put_manifest(ManifestName::Digest, manifest).await?;
                }
            }
            if let Some(index) = &planned.index {
                self.0.hold(index, manifest).await?;
            }
        }
        let mut stayed = Vec::new();
        for signed in &plan.signed {
            stayed.extend(self.sign(signed).await?);
        }
        self.0.name_for_good(tag, &plan.root).await?;
        Ok(stayed)
    }
}

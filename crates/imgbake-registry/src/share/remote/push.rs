//! A layer goes into a repository: blobs that are not there, then the manifest under its tag.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use imgbake_build::{BuildError, SharedLayer};
use imgbake_oci::ManifestName;
use imgbake_oci::Pushed;
use imgbake_oci::Repository;
use imgbake_oci::{BodySource, BoxError, SourceStream};
use imgbake_runtime::Job;

use super::find::{PARALLEL, owner};
use crate::files::damaged;
use crate::repository::raw_manifest;
use crate::share::label;
use crate::share::pack::{Blob, Content, PackedLayer};
use crate::{Result, blob, blob_file};

/// Stores a layer; gives the bytes that were sent.
pub(super) async fn push(job: &Job, repository: &Repository, layer: SharedLayer) -> Result<u64> {
    let (tag, owner) = (label(&layer.key), owner(repository, &layer.key));
    let packing = job.clone();
    let packed = tokio::task::spawn_blocking(move || PackedLayer::of(&packing, &layer)).await;
    let mut packed =
        packed.map_err(|error| damaged("packing a layer ended early").because(error))??;
    let manifest = raw_manifest(&packed.manifest)?;
    let mut seen = BTreeSet::new();
    let mut blobs = std::mem::take(&mut packed.blobs);
    blobs.retain(|blob| seen.insert(blob.descriptor.digest.clone()));
    let sent = futures::stream::iter(blobs).map(|blob| {
        let source = Source { blob, owner: owner.clone() };
        async move { source.send(repository).await }
    });
    let sent: Vec<u64> = sent.buffer_unordered(PARALLEL).try_collect().await?;
    let sent: u64 = sent.into_iter().sum();
    // Whatever else the tag names, this layer is the key's.
    if repository.tagged(&tag).await.ok().flatten().as_ref() == Some(&manifest.digest) {
        return Ok(sent);
    }
    repository.put_manifest(ManifestName::Tag(&tag), &manifest).await?;
    Ok(sent + manifest.bytes.len() as u64)
}

/// A blob that is sent as it is read.
#[derive(Debug)]
struct Source {
    blob: Blob,
    owner: String,
}

impl Source {
    /// Sends the blob, if it is not there; gives the bytes that were sent.
    async fn send(&self, repository: &Repository) -> Result<u64, BuildError> {
        let descriptor = &self.blob.descriptor;
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let pushed = repository.push_blob((digest, size), self, None).await?;
        Ok(match pushed {
            Pushed::Sent => size,
            Pushed::There | Pushed::Mounted => 0,
        })
    }
}

#[async_trait]
impl BodySource for Source {
    async fn open(&self, from: u64) -> Result<SourceStream, BoxError> {
        let descriptor = &self.blob.descriptor;
        match &self.blob.content {
            Content::Bytes(bytes) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                let left = Bytes::copy_from_slice(&bytes[from..]);
                Ok(futures::stream::once(async { Ok(left) }).boxed())
            }
            Content::File(path) => {
                let (blob, range) = (blob::Blob::of(descriptor), from..descriptor.size);
                let bytes = blob_file::read(&self.owner, &blob, path.clone(), range);
                Ok(bytes.map_err(BoxError::from).boxed())
            }
        }
    }
}

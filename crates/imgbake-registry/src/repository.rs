//! Small documents on their way into a repository of a registry.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use imgbake_oci::{BodySource, BoxError, RawManifest, Repository, SourceStream};
use imgbake_types::Digest;

use crate::Result;
use crate::change::manifest_bytes;
use crate::oci::{Descriptor, MANIFEST, Manifest};

/// Brings a blob in, if it is not there. Nothing names it yet.
pub(crate) async fn put_blob(
    repository: &Repository,
    media_type: &str,
    bytes: Bytes,
) -> Result<Descriptor> {
    let (digest, size) = (Digest::sha256(&bytes), bytes.len() as u64);
    repository.push_blob((&digest, size), &InMemory(bytes), None).await?;
    Ok(Descriptor::new(media_type, digest, size))
}

/// A manifest as it is sent.
pub(crate) fn raw_manifest(manifest: &Manifest) -> Result<RawManifest> {
    let bytes: Bytes = manifest_bytes(manifest)?.into();
    Ok(RawManifest { digest: Digest::sha256(&bytes), media_type: MANIFEST.to_owned(), bytes })
}

/// A blob in memory.
#[derive(Debug)]
struct InMemory(Bytes);

#[async_trait]
impl BodySource for InMemory {
    async fn open(&self, from: u64) -> Result<SourceStream, BoxError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.0.len());
        let rest = self.0.slice(from..);
        Ok(futures::stream::once(async move { Ok(rest) }).boxed())
    }
}

//! Blobs out of either store.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use imgbake_build::BuildError;
use imgbake_oci::Repository;

use crate::blob::{Blob, ByteStream};
use crate::layout::Layout;
use crate::{Result, blob_file};

/// A store whose blobs can be read: a layout, or a repository of a registry.
#[async_trait]
pub trait ReadBlobs: fmt::Debug + Send + Sync {
    /// What people call it.
    fn label(&self) -> String;

    /// Whether it has a blob. Its bytes are not read.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn has_blob(&self, blob: &Blob) -> Result<bool>;

    /// A piece of a blob; the digest is proved where the piece is all of it, before its last bytes. `owner`
    /// is what needs the blob, for errors.
    fn read_blob(&self, owner: &str, blob: &Blob, range: Range<u64>) -> ByteStream;
}

#[async_trait]
impl ReadBlobs for Layout {
    fn label(&self) -> String {
        self.root().to_string()
    }

    async fn has_blob(&self, blob: &Blob) -> Result<bool> {
        Ok(self.store().blobs.has(&blob.digest, blob.size))
    }

    fn read_blob(&self, owner: &str, blob: &Blob, range: Range<u64>) -> ByteStream {
        blob_file::read(owner, blob, self.store().blobs.path(&blob.digest), range)
    }
}

#[async_trait]
impl ReadBlobs for Repository {
    fn label(&self) -> String {
        self.label()
    }

    async fn has_blob(&self, blob: &Blob) -> Result<bool> {
        Ok(self.has_blob(&blob.digest).await?)
    }

    fn read_blob(&self, _owner: &str, blob: &Blob, range: Range<u64>) -> ByteStream {
        self.blob(&blob.digest, blob.size, range).map_err(BuildError::from).boxed()
    }
}

//! A blob by its digest, wherever it is stored.

use bytes::Bytes;
use futures::stream::BoxStream;
use imgbake_types::Digest;

use crate::Result;
use crate::oci::Descriptor;

/// A blob's bytes, in order.
pub(crate) type ByteStream = BoxStream<'static, Result<Bytes>>;

/// A blob: the same bytes in every store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Blob {
    /// The blob that a descriptor names.
    pub(crate) fn of(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest.clone(), size: descriptor.size }
    }
}

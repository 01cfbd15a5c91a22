//! Content-addressed files: `blobs/ALGORITHM/HEX` (image-spec, image-layout.md, "Blobs").

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::{Algorithm, Digest};
use serde::de::DeserializeOwned;

use crate::Result;
use crate::files::{MAX_JSON, damaged, parse, read_bounded};
use crate::oci::Descriptor;

/// The blobs of a layout.
#[derive(Debug, Clone)]
pub(crate) struct Blobs(Utf8PathBuf);

impl Blobs {
    pub(crate) fn new(root: &Utf8Path) -> Self {
        Self(root.join("blobs"))
    }

    /// The folder of the SHA-256 blobs: the only ones that are written.
    pub(crate) fn folder(&self) -> Utf8PathBuf {
        self.0.join(Algorithm::Sha256.name())
    }

    /// Where a blob is, or would be.
    pub(crate) fn path(&self, digest: &Digest) -> Utf8PathBuf {
        self.0.join(digest.algorithm().name()).join(digest.hex())
    }

    /// Whether there is a blob of this name and size. Its bytes are not read.
    pub(crate) fn has(&self, digest: &Digest, size: u64) -> bool {
        self.path(digest).metadata().is_ok_and(|file| file.is_file() && file.len() == size)
    }

    /// Reads a small blob and proves its bytes. `owner` is what needs it, for the error.
    pub(crate) fn read(&self, descriptor: &Descriptor, owner: &str) -> Result<Vec<u8>> {
        self.read_bounded(descriptor, MAX_JSON, owner)
    }

    /// Reads a blob of at most `most` bytes in the same way.
    pub(crate) fn read_bounded(
        &self,
        descriptor: &Descriptor,
        most: u64,
        owner: &str,
    ) -> Result<Vec<u8>> {
        let digest = &descriptor.digest;
        if digest.algorithm() != Algorithm::Sha256 {
            return Err(damaged(format!("{owner} needs the blob {digest}: only sha256 is read")));
        }
        let path = self.path(digest);
        let bytes = read_bounded(&path, most)?.ok_or_else(|| missing(owner, digest, &path))?;
        if bytes.len() as u64 != descriptor.size || Digest::sha256(&bytes) != *digest {
            return Err(broken(owner, digest, &path, "its bytes are not those of its name"));
        }
        Ok(bytes)
    }

    /// Reads a small blob as JSON.
    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        descriptor: &Descriptor,
        owner: &str,
    ) -> Result<T> {
        let bytes = self.read(descriptor, owner)?;
        parse(
            &bytes,
            &format!("the {} of {owner}, blob {}", descriptor.media_type, descriptor.digest),
        )
    }
}

/// The error for a blob that is not there.
pub(crate) fn missing(owner: &str, digest: &Digest, path: &Utf8Path) -> imgbake_build::BuildError {
    damaged(format!("the blob {digest} of {owner} is missing: there is no {path}")).help(REMEDY)
}

/// The error for a blob whose bytes are wrong.
pub(crate) fn broken(
    owner: &str,
    digest: &Digest,
    path: &Utf8Path,
    why: &str,
) -> imgbake_build::BuildError {
    damaged(format!("the blob {digest} of {owner} is damaged: {why} ({path})")).help(REMEDY)
}

const REMEDY: &str = "build the image again, or put the blob back from a copy of the registry";

//! What the fuzz targets see of this crate beside its public interface.
#![expect(clippy::expect_used, reason = "what is wrong ends the fuzz target")]

use bytes::Bytes;
use imgbake_oci::RawManifest;

use crate::transfer::document::Document;

/// Reads a manifest that a registry answers.
///
/// # Panics
/// What was taken of it cannot be.
pub fn manifest(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(raw) = RawManifest::prove(&bytes, None, None, "the registry") else { return };
    let Ok(document) = Document::read(&raw, "the registry") else { return };
    let sizes = document.children.iter().chain(&document.blobs).map(|leads_to| leads_to.size);
    sizes.fold(0_u64, |sum, size| sum.checked_add(size).expect("sizes are bounded"));
}

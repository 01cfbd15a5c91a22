//! The documents of a version and of a layer: OCI's own, imgbake's media types and annotations, and a
//! config with imgbake's record.

pub(crate) use imgbake_oci::document::{
    Annotations, CONFIG, CREATED, DESCRIPTION, Descriptor, EMPTY, INDEX, MANIFEST, Manifest, TITLE,
    VERSION,
};
use imgbake_types::Digest;
use imgbake_types::record::ImageConfig;
use imgbake_types::record::format::Written;
use serde::{Deserialize, Serialize};

/// A chunk table: see `imgbake_disk::chunk`.
pub(crate) const TABLE: &str = "application/vnd.imgbake.disk.chunks.v1";
/// A pack of chunks: zstd frames, one after the other.
pub(crate) const PACK: &str = "application/vnd.imgbake.disk.pack.v1+zstd";
/// A version's disk in chunks.
pub(crate) const CHUNKED: &str = "application/vnd.imgbake.disk.chunked.v1";
/// A version's disk as one file.
pub(crate) const PLAIN: &str = "application/vnd.imgbake.disk.plain.v1";
/// A disk as a qcow2 image.
pub(crate) const QCOW2: &str = "application/vnd.imgbake.disk.qcow2.v1";
/// A raw disk in one zstd frame.
pub(crate) const RAW_ZST: &str = "application/vnd.imgbake.disk.raw.v1+zstd";
/// A version.
pub(crate) const IMAGE: &str = "application/vnd.imgbake.image.v1";
/// One move of a channel.
pub(crate) const MOVE: &str = "application/vnd.imgbake.channel-move.v1+json";
/// Somebody wants to write a channel's record: see `docs/decisions/0019-channel-moves.md`.
pub(crate) const CLAIM: &str = "application/vnd.imgbake.channel-claim.v1+json";
/// What somebody wants a channel's record to be.
pub(crate) const VOTE: &str = "application/vnd.imgbake.channel-vote.v1+json";
/// The manifest of a channel's record, as a blob of a vote.
pub(crate) const RECORD: &str = "application/vnd.imgbake.channel-record.v1+json";
/// A shared layer.
pub(crate) const LAYER: &str = "application/vnd.imgbake.layer.v1+json";

/// The digest of the record of a channel's move before this one.
pub(crate) const PREVIOUS: &str = "io.imgbake.previous";
/// The signatures of a move's document, as a JSON list. They are here since a record has one layer.
pub(crate) const SIGNATURES: &str = "io.imgbake.signatures";
/// In which form a manifest that a version's index names has the disk: [`CHUNKED_FORM`], or else a file
/// format.
pub(crate) const FORM: &str = "io.imgbake.disk";
/// The form that imgbake itself reads.
pub(crate) const CHUNKED_FORM: &str = "chunked";
/// Why a version is held.
pub(crate) const REASON: &str = "io.imgbake.hold.reason";
/// The key of a shared layer's step.
pub(crate) const KEY: &str = "io.imgbake.layer.key";
/// The key of the layer that a shared layer's disk is based on.
pub(crate) const PARENT: &str = "io.imgbake.layer.parent";

/// image-spec, config.md, with imgbake's own record under a key of its own.
#[derive(Debug, Serialize)]
pub(crate) struct Config<'a> {
    pub(crate) created: String,
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(rename = "config")]
    pub(crate) execution: Execution,
    pub(crate) rootfs: RootFs,
    #[serde(rename = "io.imgbake.image")]
    pub(crate) image: Written<'a, ImageConfig>,
}

/// What image-spec calls `config` in a config: only the labels are used.
#[derive(Debug, Serialize)]
pub(crate) struct Execution {
    #[serde(rename = "Labels", skip_serializing_if = "Annotations::is_empty")]
    pub(crate) labels: Annotations,
}

/// The layers' digests as a root file system's parts. A pack is opaque to OCI's tools, so that its
/// plain content is the blob as it is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) diff_ids: Vec<Digest>,
}

//! The JSON documents of image-spec v1.1, as far as they are written and read here. Keys are written
//! in one order, so that the same content has the same digest.

use std::collections::BTreeMap;

use imgbake_types::Digest;
use imgbake_types::record::ImageConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// image-spec, media-types.md.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// image-spec, media-types.md.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// image-spec, media-types.md. `skopeo inspect` reads no other.
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// image-spec, manifest.md, "Guidance for an Empty Descriptor".
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
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
/// What verifying a version showed.
pub(crate) const VERIFY: &str = "application/vnd.imgbake.verify.v1+json";
/// One move of a channel.
pub(crate) const MOVE: &str = "application/vnd.imgbake.channel-move.v1+json";
/// A shared layer.
pub(crate) const LAYER: &str = "application/vnd.imgbake.layer.v1+json";

/// image-spec, annotations.md: a descriptor's name in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// image-spec, annotations.md.
pub(crate) const TITLE: &str = "org.opencontainers.image.title";
/// image-spec, annotations.md.
pub(crate) const VERSION: &str = "org.opencontainers.image.version";
/// image-spec, annotations.md.
pub(crate) const CREATED: &str = "org.opencontainers.image.created";
/// image-spec, annotations.md.
pub(crate) const DESCRIPTION: &str = "org.opencontainers.image.description";
/// The digest of the record of a channel's move before this one.
pub(crate) const PREVIOUS: &str = "io.imgbake.previous";
/// In which form a manifest that a version's index names has the disk: [`CHUNKED_FORM`], or else a file
/// format.
pub(crate) const FORM: &str = "io.imgbake.disk";
/// The form that imgbake itself reads.
pub(crate) const CHUNKED_FORM: &str = "chunked";
/// Why a version is held.
pub(crate) const REASON: &str = "io.imgbake.hold.reason";
/// The key of a shared layer's step.
pub(crate) const KEY: &str = "io.imgbake.layer.key";
/// The key of the layer that a shared layer's disk stands on.
pub(crate) const PARENT: &str = "io.imgbake.layer.parent";

/// Annotations, by key.
pub(crate) type Annotations = BTreeMap<String, String>;

/// image-spec, descriptor.md. What is not known here is kept as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            artifact_type: None,
            digest,
            size,
            annotations: Annotations::new(),
            rest: BTreeMap::new(),
        }
    }

    /// The same, without what only its place in an index adds.
    pub(crate) fn bare(&self) -> Self {
        Self::new(&self.media_type, self.digest.clone(), self.size)
    }
}

/// image-spec, manifest.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default = "manifest_type")]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations,
}

fn manifest_type() -> String {
    MANIFEST.to_owned()
}

impl Manifest {
    pub(crate) fn new(artifact: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: manifest_type(),
            artifact_type: Some(artifact.to_owned()),
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    pub(crate) fn is(&self, artifact: &str) -> bool {
        self.artifact_type.as_deref() == Some(artifact)
    }
}

/// image-spec, config.md, with imgbake's own record under a key of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) created: String,
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(rename = "config", default)]
    pub(crate) execution: Execution,
    pub(crate) rootfs: RootFs,
    #[serde(rename = "io.imgbake.image")]
    pub(crate) image: ImageConfig,
}

/// What image-spec calls `config` in a config: only the labels are used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Execution {
    #[serde(rename = "Labels", default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) labels: Annotations,
}

/// The layers' digests as a root file system's parts. A pack is opaque to OCI's tools, so that its
/// plain content is the blob as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) diff_ids: Vec<Digest>,
}

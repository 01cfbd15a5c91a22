//! The JSON documents of image-spec v1.1, as far as they are written and read here. Keys are written
//! in one order, so that the same content has the same digest. An index is [`crate::Index`].

use std::collections::BTreeMap;

use imgbake_types::Digest;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// image-spec, media-types.md.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// image-spec, media-types.md.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// image-spec, media-types.md. `skopeo inspect` reads no other.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// image-spec, manifest.md, "Guidance for an Empty Descriptor".
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// image-spec, annotations.md: a descriptor's name in a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// image-spec, annotations.md.
pub const TITLE: &str = "org.opencontainers.image.title";
/// image-spec, annotations.md.
pub const VERSION: &str = "org.opencontainers.image.version";
/// image-spec, annotations.md.
pub const CREATED: &str = "org.opencontainers.image.created";
/// image-spec, annotations.md.
pub const DESCRIPTION: &str = "org.opencontainers.image.description";

/// Annotations, by key.
pub type Annotations = BTreeMap<String, String>;

/// Reads what may be `null`, as some tools write for nothing.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// image-spec, descriptor.md. What is not known here is kept as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// What kind of artifact a manifest is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Annotations::is_empty"
    )]
    pub annotations: Annotations,
    /// Everything else, such as `platform` and `urls`.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

impl Descriptor {
    /// A descriptor without annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
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
    pub fn bare(&self) -> Self {
        Self::new(&self.media_type, self.digest.clone(), self.size)
    }
}

/// image-spec, manifest.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`MANIFEST`].
    #[serde(default = "manifest_type")]
    pub media_type: String,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, in order.
    pub layers: Vec<Descriptor>,
    /// The manifest that it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Annotations::is_empty"
    )]
    pub annotations: Annotations,
}

fn manifest_type() -> String {
    MANIFEST.to_owned()
}

impl Manifest {
    /// A manifest of a kind of artifact.
    pub fn new(artifact: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
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

    /// Whether it is of a kind of artifact.
    pub fn is(&self, artifact: &str) -> bool {
        self.artifact_type.as_deref() == Some(artifact)
    }
}

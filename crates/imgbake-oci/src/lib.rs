//! OCI: its documents, logins, and the client of any registry.
//!
//! [`document`] has the manifests and indexes of image-spec v1.1. [`Remote`] is any registry that speaks
//! distribution-spec v1.1, a [`Repository`] one name in it: blobs, uploads, manifests, tags, and what
//! refers to a manifest. What comes from there is foreign: manifests and whole blobs are proved by their
//! digests, lengths are bounded. What versions, channels and layers are is not known here.

mod auth;
mod blobs;
mod challenge;
mod credentials;
pub mod document;
mod endpoint;
mod error;
mod error_body;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod links;
mod manifests;
pub mod referrers;
mod remote;
mod request;
mod tags;
mod token;
mod upload;

pub use blobs::BlobStream;
pub use credentials::{CredentialSettings, FixedLogin};
pub use error::{OciError, OciErrorKind};
pub use imgbake_http::{BodySource, BoxError, SourceStream};
pub use index::{Index, Tagged};
pub use manifests::{
    DOCKER_LIST, DOCKER_MANIFEST, LONGEST_READ, LONGEST_WRITTEN, MANIFEST_TYPES, ManifestName,
    RawManifest,
};
pub use remote::{Remote, RemoteOptions, Repository};
pub use upload::Pushed;

/// What this crate's functions give.
type Result<T, E = OciError> = std::result::Result<T, E>;

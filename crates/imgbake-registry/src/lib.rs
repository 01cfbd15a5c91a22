//! Versions and channels as storage: the local OCI image layout.
//!
//! One folder (image-spec v1.1, image-layout.md) holds every image. In `index.json` each descriptor
//! carries the annotation `org.opencontainers.image.ref.name` = `NAME:TAG`; a tag is
//! - a version: an image index whose annotation `org.opencontainers.image.version` is the tag;
//! - a channel: another name of a version's index;
//! - hidden: `sha256-<hex>` lists what refers to a version (distribution-spec v1.1, "Referrers Tag
//!   Schema"), `sha256-<hex>.sig`, `.att` and `.sbom` are what cosign says of it, `CHANNEL.history` is
//!   the newest of a channel's moves, `hold-VERSION` keeps a version.
//!
//! A layout can hold layers as well ([`LayoutShare`]): their labels are bare, `layer-<hex>`, and so no
//! image's. In a repository ([`RemoteShare`]) that is their tag.
//!
//! A version's index names a manifest of its disk in chunks: a config, a chunk table, and every pack
//! that the table names (`docs/reference/registry-format.md`).
//!
//! The same tags mean the same in a repository of any other registry ([`imgbake_oci::Repository`]). An image
//! is a name in a layout ([`LayoutImage`]) or a repository ([`RemoteImage`]): both have the same traits
//! ([`imgbake_build::Image`]), and [`transfer`] moves versions between any two of them.
//!
//! Names of versions that gc took away are in `given.json`: they are never given again.
//!
//! Changes are made under the lock `.lock` and in one order: what `publishing/` says shall come,
//! blobs, manifests, indexes, `index.json`; each is durable before the next. Readers take no lock: they read
//! `index.json` once, and what it names is all there.

mod blob;
mod blob_file;
mod blobs;
mod change;
mod channels;
mod deep;
mod evidence;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod image;
mod index;
mod intent;
mod layout;
mod lease;
mod maintenance;
mod not_found;
mod oci;
mod problem;
mod publish;
pub mod pull;
mod reachable;
mod read_blobs;
mod registry;
mod repository;
mod restore;
mod retired_names;
mod seed;
mod share;
mod store;
mod stored_chunks;
pub mod tags;
pub mod transfer;
mod version;
mod versions;

pub use blob::Blob;
pub use deep::{Damage, DeepReport, Depth, Repair};
pub use gc::{Clock, GcReport, GcRequest, RemovedVersion, Retention, VersionCost};
pub use image::{LayoutImage, RemoteImage};
pub use layout::Layout;
pub use read_blobs::ReadBlobs;
pub use share::{LayoutShare, RemoteShare};

use imgbake_build::BuildError;

/// What this crate's functions give: floor 3's rooms share one error.
type Result<T, E = BuildError> = std::result::Result<T, E>;

//! Base disks that exist already: a URL or file with its checksum, or a version in the registry.
//!
//! [`UrlSource`] keeps what it downloads in `IMGBAKE_HOME/cache/downloads`, named by digest: a disk that
//! is there is used without a request. A download that was cut resumes where it stopped, also in
//! another process. No byte is unpacked or parsed before its checksum is proved. [`RegistrySource`]
//! restores a version's disk into `IMGBAKE_HOME/cache/images`.

mod blocking;
mod client;
mod digest_cache;
mod download;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod image;
mod inputs;
mod inspect;
mod location;
mod partial;
mod pin;
mod store;
mod sums;
mod unpack;
mod url_source;

pub use error::SourceError;
pub use image::{RegistrySource, pinned};
pub use inputs::StepInputs;
pub use url_source::UrlSource;

#[cfg(test)]
mod tests;

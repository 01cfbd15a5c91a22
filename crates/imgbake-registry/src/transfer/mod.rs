//! Moving versions between images of the local layout and of registries.
//!
//! What is moved is a manifest and all that it leads to, byte for byte: nothing here looks into
//! layers. Blobs come first, then manifests, then what refers to them, and the tag last; what is
//! there already is not moved again, so a copy that was cut goes on where it was cut.

mod check;
mod copy;
pub(crate) mod document;
mod end;
mod layout;
pub(crate) mod meter;
mod partial;
mod plan;
mod remote;
mod signed;
mod walk;

pub use copy::{Copied, copy};
pub use end::End;

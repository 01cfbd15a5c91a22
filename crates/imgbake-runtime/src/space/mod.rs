//! How much space a file system has.

mod measure;

use camino::Utf8Path;

use crate::RuntimeError;

pub use crate::error::full;
pub use measure::{free_bytes, mount_point};

/// Refuses to begin what cannot fit.
pub fn require(path: &Utf8Path, needed: u64) -> Result<(), RuntimeError> {
    match free_bytes(path) {
        Some(free) if free < needed => Err(full(path, Some(needed))),
        _ => Ok(()),
    }
}

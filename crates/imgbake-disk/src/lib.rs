//! Disk formats and media: raw, qcow2, vmdk, vhd, vhdx, GPT, file systems read in place, seed volumes,
//! holes.
//!
//! Everything here is synchronous and positional: a disk is never held in memory, and a
//! [`DiskImage`] can be read by many threads at once. Foreign bytes (headers, tables, frames)
//! are trusted for nothing: what does not add up is a [`DiskError`], with bounded memory.

mod bytes;
mod crc32c;
mod error;
mod file;
mod guid;
mod longer;
mod source;

pub mod chunk;
pub mod export;
pub mod fat;
pub mod fs;
pub mod gpt;
pub mod hash;
pub mod image;
pub mod overlay;
mod qcow2;
mod raw;
pub mod seed;
pub mod zero;

pub use error::{DiskError, DiskErrorKind, Result};
pub use export::{ExportFormat, ExportOptions, export};
pub use hash::DiskHasher;
pub use image::{DiskFormat, DiskImage};
pub use longer::Longer;
pub use source::{DiskSource, Extent};

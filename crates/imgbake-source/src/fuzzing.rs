//! What the fuzz targets see of this crate beside its public interface.

use std::fs::File;

use camino::Utf8Path;
use imgbake_http::{Url, resolve_redirect};
use imgbake_types::Digest;

use crate::blocking::Meter;
use crate::location::Location;
use crate::unpack::{self, Limits};
use crate::{download, inspect, sums};

/// The digest that a checksum file has for a name.
pub fn checksum(text: &str, name: &str) -> Option<Digest> {
    sums::find(text, name, "the checksum file").ok()
}

/// A location as people see it, and what a checksum file calls its file.
pub fn location(text: &str) -> Option<(String, String)> {
    let location = Location::parse(text).ok()?;
    Some((location.to_string(), location.base_name()))
}

/// Where a redirect leads.
pub fn redirect(from: &str, target: &str) -> Option<Url> {
    resolve_redirect(&Url::parse(from).ok()?, Some(target)).ok()
}

/// The first byte of a piece and the length of all, by a Content-Range header.
pub fn content_range(header: &str) -> Option<(u64, Option<u64>)> {
    download::content_range(header)
}

/// Unpacks a file into an empty one; `most` bounds its data and its size.
pub fn unpack(packed: &Utf8Path, disk: (&File, &Utf8Path), most: u64) -> Option<u64> {
    let packing = inspect::packing(packed).ok()??;
    let limits = Limits { data: most, size: most };
    unpack::unpack(packing, File::open(packed).ok()?, disk, limits, &Meter::unwatched()).ok()
}

/// The virtual size of a base image.
pub fn virtual_size(image: &Utf8Path) -> Option<u64> {
    inspect::virtual_size(image, "the image").ok()
}

//! Whether a file is a disk that a machine can start from.

use std::io::Read;

use camino::Utf8Path;
use imgbake_disk::{DiskError, DiskFormat, DiskImage, DiskSource};
use imgbake_runtime::error::io_at;

use crate::error::SourceError;
use crate::location::open_file;
use crate::unpack::Packing;

/// Formats that are not read, by their first bytes.
const UNREAD: [(&[u8], &str); 9] = [
    (b"KDMV", "a VMDK image"),
    (b"# Disk DescriptorFile", "a VMDK descriptor"),
    (b"vhdxfile", "a VHDX image"),
    (b"conectix", "a VHD image"),
    (b"<<< ", "a VDI image"),
    (b"QED\0", "a QED image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "packed with bzip2"),
    (b"<!DOCTYPE", "a web page"),
];

/// How the file is packed, if it is.
pub(crate) fn packing(path: &Utf8Path) -> Result<Option<Packing>, SourceError> {
    Ok(Packing::of(&first_bytes(path)?))
}

fn first_bytes(path: &Utf8Path) -> Result<Vec<u8>, SourceError> {
    let mut first = Vec::new();
    let read = open_file(path)?.take(32).read_to_end(&mut first);
    read.map_err(io_at("read", path))?;
    Ok(first)
}

/// The format of an image that was looked at when it came in.
pub(crate) fn format(path: &Utf8Path) -> Result<DiskFormat, SourceError> {
    Ok(DiskImage::open_flat(path)?.format())
}

/// The virtual size in bytes of a raw or qcow2 image that came from elsewhere. `name` is what the
/// user calls it. An image that names another file of this host is refused.
pub(crate) fn virtual_size(path: &Utf8Path, name: &str) -> Result<u64, SourceError> {
    let wrong = |why: String| SourceError::Unusable { name: name.to_owned(), why, source: None };
    let first = first_bytes(path)?;
    if first.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    if let Some((_, format)) = UNREAD.iter().find(|(magic, _)| first.starts_with(magic)) {
        return Err(SourceError::OtherFormat { name: name.to_owned(), format });
    }
    let open = || {
        let image = DiskImage::open_flat(path)?;
        let size = image.virtual_size();
        if image.format() == DiskFormat::Qcow2 {
            // All tables are read, and of each run of clusters both ends: a cut file shows.
            for extent in image.extents()? {
                image.read_at(extent.offset, &mut [0])?;
                image.read_at(extent.end() - 1, &mut [0])?;
            }
        }
        Ok::<_, DiskError>((image.format(), size))
    };
    let (format, size) = open().map_err(|error| SourceError::Unusable {
        name: name.to_owned(),
        why: error.detail().to_owned(),
        source: Some(error),
    })?;
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    if format == DiskFormat::Raw && !bytes.is_multiple_of(512) {
        return Err(wrong(format!(
            "it is no qcow2 image, and as a raw disk its {bytes} bytes are no whole number of 512-byte sectors"
        )));
    }
    if size == 0 {
        return Err(wrong("its disk has no bytes".to_owned()));
    }
    Ok(size)
}

//! Whether a file is a disk that a machine can start from.

use std::io::{Read, Seek as _, SeekFrom};

use camino::Utf8Path;
use imgbake_disk::{DiskError, DiskFormat, DiskImage, DiskSource};
use imgbake_runtime::error::io_at;

use crate::error::SourceError;
use crate::location::open_file;
use crate::unpack::Packing;

/// Bytes that are looked at: an ISO 9660 image begins with 32 KiB for others.
const FIRST: u64 = 0x9010;

/// What is no disk that is read, by bytes at some place: libmagic's database names each. Anything of whole
/// sectors would pass as a raw disk.
const UNREAD: [(usize, &[u8], &str); 33] = [
    (0, b"KDMV", "a VMDK image"),
    (0, b"COWD", "a VMDK image"),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor"),
    (0, b"vhdxfile", "a VHDX image"),
    (0, b"conectix", "a VHD image"),
    (0, b"<<< ", "a VDI image"),
    (0, b"QED\0", "a QED image"),
    (0, b"WithoutFreeSpace", "a Parallels image"),
    (0, b"WithouFreSpacExt", "a Parallels image"),
    (0, b"Bochs Virtual HD Image", "a Bochs image"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"BZh", "packed with bzip2"),
    (0, b"\x04\x22\x4d\x18", "packed with lz4"),
    (0, b"\x89LZO", "packed with lzop"),
    (0, b"LZIP", "packed with lzip"),
    (0, b"\x1f\x9d", "packed with compress"),
    (0, b"!<arch>", "an ar archive or a Debian package"),
    (0, b"070701", "a cpio archive"),
    (0, b"070702", "a cpio archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"%PDF", "a PDF document"),
    (0, b"{", "JSON text"),
    (0, b"<", "a web page or XML text"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: `git lfs pull` fetches the file"),
    (0, b"-----BEGIN ", "PEM or OpenPGP text"),
    (257, b"ustar", "a tar archive"),
    (0x8001, b"CD001", "an ISO 9660 image"),
    (0x9001, b"CD001", "an ISO 9660 image"),
];

/// The last bytes of a fixed VHD, and of an Apple disk image: at the beginning of the last 512.
const UNREAD_AT_END: [(&[u8], &str); 2] =
    [(b"conectix", "a fixed VHD image"), (b"koly", "an Apple disk image")];

/// What a file is that is not read.
fn unread(path: &Utf8Path, first: &[u8]) -> Result<Option<&'static str>, SourceError> {
    let text = first.trim_ascii_start();
    let found = UNREAD.iter().find(|(at, magic, _)| match at {
        0 => first.starts_with(magic) || (magic[0] == b'<' && text.starts_with(magic)),
        at => first.get(*at..).is_some_and(|bytes| bytes.starts_with(magic)),
    });
    if let Some((.., what)) = found {
        return Ok(Some(what));
    }
    let mut file = open_file(path)?;
    let mut end = Vec::new();
    let len = file.metadata().map_err(io_at("read", path))?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(512))).map_err(io_at("read", path))?;
    file.take(512).read_to_end(&mut end).map_err(io_at("read", path))?;
    let found = UNREAD_AT_END.iter().find(|(magic, _)| end.starts_with(magic));
    Ok(found.map(|(_, what)| *what))
}

/// How the file is packed, if it is.
pub(crate) fn packing(path: &Utf8Path) -> Result<Option<Packing>, SourceError> {
    Ok(Packing::of(&first_bytes(path)?))
}

fn first_bytes(path: &Utf8Path) -> Result<Vec<u8>, SourceError> {
    let mut first = Vec::new();
    let read = open_file(path)?.take(FIRST).read_to_end(&mut first);
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
    if let Some(format) = unread(path, &first)? {
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

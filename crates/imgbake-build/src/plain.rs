//! A whole disk as one file, for tools that know nothing of chunks.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{DiskSource, ExportFormat, ExportOptions, Extent};
use imgbake_runtime::{Cancel, RuntimeError};
use imgbake_types::Digest;
use imgbake_types::spec::PlainFormat;
use sha2::Digest as _;

use crate::error::disk_error;
use crate::{BlobFile, BuildError, PlainFile};

/// zstd's level: what `zstd` itself takes without an option.
const LEVEL: i32 = 3;
/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// Writes a disk as one file into a folder. `seed` decides the identifiers in it: the same disk and seed
/// give the same bytes.
///
/// # Errors
/// The disk cannot be read, the file system is full, or the job was cancelled.
pub fn write(
    disk: &dyn DiskSource,
    format: PlainFormat,
    seed: &Digest,
    folder: &Utf8Path,
    cancel: &Cancel,
) -> Result<PlainFile, BuildError> {
    let path = folder.join(format!("plain.{}", format.extension()));
    match format {
        PlainFormat::Qcow2 => {
            let options = ExportOptions::new(seed.to_string());
            imgbake_disk::export(disk, ExportFormat::Qcow2, &path, &options, &mut |_| {})
                .map_err(disk_error)?;
        }
        PlainFormat::RawZst => pack(disk, &path, cancel)?,
    }
    cancel.check()?;
    let (digest, size) = hash(&path).map_err(failed("read", &path))?;
    Ok(PlainFile { format, file: BlobFile { path, digest, size } })
}

/// Writes the raw disk as one zstd frame, holes as zeros.
fn pack(disk: &dyn DiskSource, path: &Utf8PathBuf, cancel: &Cancel) -> Result<(), BuildError> {
    let out = File::create_new(path).map_err(failed("make", path))?;
    let out = BufWriter::with_capacity(1 << 18, out);
    let mut zstd = zstd::stream::write::Encoder::new(out, LEVEL).map_err(failed("write", path))?;
    zstd.include_checksum(true).map_err(failed("write", path))?;
    let size = disk.virtual_size();
    let zeros = vec![0; PIECE];
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    let end = Extent { offset: size, len: 0 };
    for extent in disk.extents().map_err(disk_error)?.into_iter().chain([end]) {
        while done < extent.end() {
            cancel.check()?;
            let hole = done < extent.offset;
            let until = if hole { extent.offset } else { extent.end() };
            let len = usize::try_from(until - done).unwrap_or(PIECE).min(PIECE);
            if !hole {
                disk.read_at(done, &mut buffer[..len]).map_err(disk_error)?;
            }
            let bytes = if hole { &zeros[..len] } else { &buffer[..len] };
            zstd.write_all(bytes).map_err(failed("write", path))?;
            done += len as u64;
        }
    }
    let ended = zstd.finish().and_then(|mut out| out.flush());
    ended.map_err(failed("write", path))
}

fn failed<'a>(operation: &'a str, path: &'a Utf8Path) -> impl FnOnce(io::Error) -> BuildError + 'a {
    move |error| RuntimeError::io(operation, path, error).into()
}

/// A file's digest and size.
fn hash(path: &Utf8Path) -> io::Result<(Digest, u64)> {
    let (mut file, mut sha256, mut size) = (File::open(path)?, sha2::Sha256::new(), 0);
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((Digest::from_sha256(&sha256.finalize()), size)),
            count => {
                sha256.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imgbake_disk::DiskImage;

    use super::*;

    #[test]
    fn a_plain_file_is_the_whole_disk() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let raw = dir.join("disk.raw");
        let mut disk = vec![0; (5 << 20) + 512];
        disk[..5000].fill(7);
        disk[3 << 20..(3 << 20) + 100_000].fill(9);
        let file = File::create(&raw).unwrap();
        file.set_len(disk.len() as u64).unwrap();
        for range in [0..5000, 3 << 20..(3 << 20) + 100_000] {
            let at = range.start as u64;
            std::os::unix::fs::FileExt::write_all_at(&file, &disk[range], at).unwrap();
        }
        let image = DiskImage::open(&raw).unwrap();
        let write = |format| {
            write(&image, format, &Digest::sha256("seed"), dir, &Cancel::new()).unwrap().file
        };
        let packed = write(PlainFormat::RawZst);
        let bytes = std::fs::read(&packed.path).unwrap();
        assert_eq!((Digest::sha256(&bytes), bytes.len() as u64), (packed.digest, packed.size));
        assert!(zstd::stream::decode_all(&bytes[..]).unwrap() == disk);
        let mut back = vec![1; disk.len()];
        let qcow2 = DiskImage::open_flat(&write(PlainFormat::Qcow2).path).unwrap();
        qcow2.read_at(0, &mut back).unwrap();
        assert!(back == disk && qcow2.virtual_size() == disk.len() as u64);
        let cancel = Cancel::new();
        cancel.cancel();
        std::fs::remove_file(dir.join("plain.raw.zst")).unwrap();
        let seed = Digest::sha256("seed");
        assert!(super::write(&image, PlainFormat::RawZst, &seed, dir, &cancel).is_err());
    }
}

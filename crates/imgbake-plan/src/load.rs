//! Digests of the host's files: the one part of this crate that reads.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use imgbake_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::FileHasher;

/// Hashes files and folders of this host.
///
/// A file's digest is the SHA-256 of its bytes. A folder's is the SHA-256 of one record for each
/// entry below it, sorted by relative name: the entry's kind, name, permissions, and a file's digest
/// or a link's target, each with its length before it.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsHasher;

impl FileHasher for FsHasher {
    fn digest(&self, path: &Utf8Path) -> io::Result<Digest> {
        if fs::metadata(path)?.is_dir() { folder(path) } else { file(path) }
    }

    fn mode(&self, path: &Utf8Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
    }
}

fn file(path: &Utf8Path) -> io::Result<Digest> {
    let mut from = fs::File::open(path)?;
    if !from.metadata()?.is_file() {
        return Err(io::Error::other("neither a file nor a folder"));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(Digest::from_sha256(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

fn folder(root: &Utf8Path) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut record = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    record(b"imgbake folder 1");
    let mut names = Vec::new();
    list(root, Utf8Path::new(""), &mut names)?;
    names.sort();
    for name in names {
        let path = root.join(&name);
        let found = fs::symlink_metadata(&path)?;
        record(name.as_bytes());
        if found.is_symlink() {
            record(b"link");
            record(fs::read_link(&path)?.as_os_str().as_encoded_bytes());
            continue;
        }
        let mode = found.permissions().mode() & 0o7777;
        record(&mode.to_le_bytes());
        if found.is_dir() {
            record(b"folder");
        } else {
            record(b"file");
            record(file(&path)?.hex().as_bytes());
        }
    }
    Ok(Digest::from_sha256(&hash.finalize()))
}

fn list(root: &Utf8Path, below: &Utf8Path, names: &mut Vec<String>) -> io::Result<()> {
    for entry in root.join(below).read_dir_utf8()? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, &name, names)?;
        }
        names.push(name.into_string());
    }
    Ok(())
}

//! Digests of the host's files: the one part of this crate that reads.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use camino::Utf8Path;
use imgbake_types::Digest;
use sha2::{Digest as _, Sha256};

use crate::FileHasher;
use crate::digest_cache::{DigestCache, Stamp};

/// Hashes files and folders of this host.
///
/// A file's digest is the SHA-256 of its bytes. A folder's is the SHA-256 of one record for each
/// entry below it, sorted by relative name: the entry's kind, name, permissions, and a file's digest
/// or a link's target, each with its length before it.
#[derive(Debug, Default)]
pub struct FsHasher {
    digest_cache: Option<Mutex<DigestCache>>,
}

impl FsHasher {
    /// Reads every file each time.
    pub const fn new() -> Self {
        Self { digest_cache: None }
    }

    /// Remembers the digests of files over 4 MiB in the file at `path`, which is made where there is
    /// none; a file that is what it was (device, inode, size, times of change) is not read again.
    ///
    /// A digest_cache that cannot be read is no digest_cache; one that cannot be written is not written.
    pub fn with_memo(path: &Utf8Path) -> Self {
        Self { digest_cache: Some(Mutex::new(DigestCache::read(path))) }
    }
}

impl FsHasher {
    fn hash(&self, path: &Utf8Path, counts: fn(&str) -> bool) -> io::Result<Digest> {
        let digest_cache = self.digest_cache.as_ref();
        let mut digest_cache = digest_cache
            .map(|digest_cache| digest_cache.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reader = Reader { digest_cache: digest_cache.as_deref_mut() };
        let digest = if fs::metadata(path)?.is_dir() {
            reader.folder(path, counts)
        } else {
            reader.file(path)
        };
        if let Some(digest_cache) = reader.digest_cache {
            digest_cache.save();
        }
        digest
    }
}

/// Whether a name is part of source code: not what version control, Python and Ansible leave in its folders.
fn is_source(name: &str) -> bool {
    let ending = [".pyc", ".retry"].iter().any(|ending| name.ends_with(ending));
    !ending && ![".git", ".hg", ".svn", "__pycache__", ".ansible"].contains(&name)
}

impl FileHasher for FsHasher {
    fn digest(&self, path: &Utf8Path) -> io::Result<Digest> {
        self.hash(path, |_| true)
    }

    fn source_digest(&self, path: &Utf8Path) -> io::Result<Digest> {
        self.hash(path, is_source)
    }

    fn mode(&self, path: &Utf8Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
    }
}

struct Reader<'m> {
    digest_cache: Option<&'m mut DigestCache>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Utf8Path) -> io::Result<Digest> {
        // Before it is opened: a pipe would wait for its other end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("neither a file nor a folder"));
        }
        let mut from = fs::File::open(path)?;
        let stamp = Stamp::of(&from.metadata()?);
        if let Some(digest) =
            self.digest_cache.as_ref().and_then(|digest_cache| digest_cache.get(path, &stamp))
        {
            return Ok(digest.clone());
        }
        let begun = SystemTime::now();
        let digest = hash(&mut from)?;
        if let Some(digest_cache) = &mut self.digest_cache
            && Stamp::of(&from.metadata()?) == stamp
        {
            digest_cache.put(path, stamp, &digest, begun);
        }
        Ok(digest)
    }

    fn folder(&mut self, root: &Utf8Path, counts: fn(&str) -> bool) -> io::Result<Digest> {
        let mut hash = Sha256::new();
        let mut record = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        record(b"imgbake folder 1");
        let mut names = Vec::new();
        list(root, Utf8Path::new(""), counts, &mut names)?;
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
                record(self.file(&path)?.hex().as_bytes());
            }
        }
        Ok(Digest::from_sha256(&hash.finalize()))
    }
}

fn hash(from: &mut fs::File) -> io::Result<Digest> {
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

fn list(
    root: &Utf8Path,
    below: &Utf8Path,
    counts: fn(&str) -> bool,
    names: &mut Vec<String>,
) -> io::Result<()> {
    for entry in root.join(below).read_dir_utf8()? {
        let entry = entry?;
        if !counts(entry.file_name()) {
            continue;
        }
        let name = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(root, &name, counts, names)?;
        }
        names.push(name.into_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    /// A digest_cache with a digest that is not that of the file's bytes shows whether they are read.
    #[test]
    fn a_big_file_that_is_what_it_was_is_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let (path, at) = (folder.join("disk"), folder.join("digest_cache"));
        let mut disk = fs::File::create(&path).expect("a file");
        disk.set_len(5 << 20).expect("a size");
        let stamp = Stamp::of(&disk.metadata().expect("metadata"));
        let other = Digest::sha256("other");
        let mut digest_cache = DigestCache::read(&at);
        digest_cache.put(&path, stamp, &other, SystemTime::now() + Duration::from_secs(10));
        digest_cache.save();

        let hash = || FsHasher::with_memo(&at).digest(&path).expect("a digest");
        let truth = || FsHasher::new().digest(&path).expect("a digest");
        assert_eq!(hash(), other);
        assert_ne!(truth(), other);
        let within = FsHasher::with_memo(&at).digest(folder).expect("a digest");
        assert_ne!(within, FsHasher::new().digest(folder).expect("a digest"));
        disk.write_all(b"more").expect("written");
        assert_eq!(hash(), truth());
        assert_eq!(hash(), truth(), "too fresh to be remembered");
        fs::write(&at, "damaged").expect("written");
        assert_eq!(hash(), truth());
    }
}

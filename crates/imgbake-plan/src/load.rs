//! Digests of the host's files: the one part of this crate that reads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
/// or a link's target, each with its length before it; of a file with several names in the folder its first one,
/// and what a copy keeps of its extended attributes.
#[derive(Debug, Default)]
pub struct FsHasher {
    digest_cache: Option<Mutex<DigestCache>>,
    attributes: Option<ReadAttributes>,
}

/// Reads what a copy keeps of a file's extended attributes, by name.
pub type ReadAttributes = fn(&Utf8Path) -> io::Result<Vec<(String, Vec<u8>)>>;

impl FsHasher {
    /// Reads every file each time.
    pub const fn new() -> Self {
        Self { digest_cache: None, attributes: None }
    }

    /// Remembers the digests of files over 4 MiB in the file at `path`, which is made where there is
    /// none; a file that is what it was (device, inode, size, times of change) is not read again.
    ///
    /// A digest_cache that cannot be read is no digest_cache; one that cannot be written is not written.
    pub fn with_memo(path: &Utf8Path) -> Self {
        Self { digest_cache: Some(Mutex::new(DigestCache::read(path))), attributes: None }
    }
}

impl FsHasher {
    /// Lets files' extended attributes count in a folder's digest, as far as `read` gives them.
    #[must_use]
    pub fn with_attributes(self, read: ReadAttributes) -> Self {
        Self { attributes: Some(read), ..self }
    }

    fn hash(&self, path: &Utf8Path, counts: fn(&str) -> bool) -> io::Result<Digest> {
        let digest_cache = self.digest_cache.as_ref();
        let mut digest_cache = digest_cache
            .map(|digest_cache| digest_cache.lock().unwrap_or_else(PoisonError::into_inner));
        let mut reader =
            Reader { digest_cache: digest_cache.as_deref_mut(), attributes: self.attributes };
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
    attributes: Option<ReadAttributes>,
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
        let mut linked: HashMap<(u64, u64), String> = HashMap::new();
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
            // What most files have not changes no digest of those.
            if found.is_file() && found.nlink() > 1 {
                match linked.entry((found.dev(), found.ino())) {
                    Entry::Occupied(first) => {
                        record(b"hard link");
                        record(str::as_bytes(first.get()));
                    }
                    Entry::Vacant(new) => _ = new.insert(name.clone()),
                }
            }
            if found.is_file()
                && let Some(read) = self.attributes
            {
                for (name, value) in read(&path)? {
                    record(b"attribute");
                    record(name.as_bytes());
                    record(&value);
                }
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

    #[test]
    fn what_a_copy_keeps_decides_a_folders_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let digest = || FsHasher::new().digest(folder).expect("a digest");
        let noted: ReadAttributes = |path| {
            let is_noted = path.file_name() == Some("a");
            Ok(if is_noted { vec![("user.note".to_owned(), b"1".to_vec())] } else { Vec::new() })
        };
        let at = |name: &str| folder.join(name);
        fs::write(at("a"), "x").expect("written");
        fs::write(at("b"), "x").expect("written");
        let (two, source) = (digest(), || FsHasher::new().source_digest(folder).expect("a digest"));
        fs::remove_file(at("b")).expect("removed");
        fs::hard_link(at("a"), at("b")).expect("linked");
        let linked = digest();
        assert_ne!(linked, two);
        let hasher = FsHasher::new().with_attributes(noted);
        assert_ne!(hasher.digest(folder).expect("a digest"), linked);
        // What version control and Python leave there is copied, and is no source code.
        let (all, code) = (digest(), source());
        fs::create_dir(at("__pycache__")).expect("a folder");
        fs::write(at("x.retry"), "x").expect("written");
        assert_eq!(source(), code);
        assert_ne!(digest(), all);
    }

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

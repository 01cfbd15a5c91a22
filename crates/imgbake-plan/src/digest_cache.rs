//! A digest_cache of big files' digests, so that a plan need not read a disk again that is what it was.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Digest;
use serde::{Deserialize, Serialize};

/// Smaller files are read each time: they cost no more than a digest_cache of them.
const BIG: u64 = 4 << 20;
/// Entries kept: those remembered last.
const MOST: usize = 256;
/// A longer digest_cache is damaged: 256 of the longest paths that Linux knows, with what is said of each.
const LONGEST: u64 = 2 << 20;
/// A file that changed this shortly before it was read may change again within the same tick of its
/// file system's clock.
const SETTLED: Duration = Duration::from_secs(2);
/// A half-written digest_cache this old was left by a killed process.
const LEFT: Duration = Duration::from_secs(60);

/// What shows that a file is what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    /// When its bytes changed: nanoseconds since 1970.
    mtime: i64,
    /// When anything of it changed, set by the kernel alone: nanoseconds since 1970.
    ctime: i64,
}

impl Stamp {
    pub(crate) fn of(found: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            dev: found.dev(),
            ino: found.ino(),
            size: found.size(),
            mtime: nanoseconds(found.mtime(), found.mtime_nsec()),
            ctime: nanoseconds(found.ctime(), found.ctime_nsec()),
        }
    }

    fn settled(&self, now: SystemTime) -> bool {
        let changed = u64::try_from(self.mtime.max(self.ctime)).unwrap_or_default();
        now.duration_since(UNIX_EPOCH + Duration::from_nanos(changed))
            .is_ok_and(|age| age >= SETTLED)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    stamp: Stamp,
    digest: Digest,
    /// When it was remembered: seconds since 1970.
    at: u64,
}

/// The digest_cache, and where it is kept.
#[derive(Debug)]
pub(crate) struct DigestCache {
    path: Utf8PathBuf,
    files: BTreeMap<Utf8PathBuf, Entry>,
    changed: bool,
}

impl DigestCache {
    /// What the file at `path` remembers: nothing if it is not there or is damaged.
    pub(crate) fn read(path: &Utf8Path) -> Self {
        let mut files: BTreeMap<Utf8PathBuf, Entry> = load(path).unwrap_or_default();
        while files.len() > MOST {
            files.pop_last();
        }
        Self { path: path.to_owned(), files, changed: false }
    }

    /// The digest of a file that is what it was.
    pub(crate) fn get(&self, path: &Utf8Path, stamp: &Stamp) -> Option<&Digest> {
        self.files.get(path).filter(|entry| entry.stamp == *stamp).map(|entry| &entry.digest)
    }

    /// Remembers a file that was read from `begun` on, if it is big and had not changed just before.
    pub(crate) fn put(
        &mut self,
        path: &Utf8Path,
        stamp: Stamp,
        digest: &Digest,
        begun: SystemTime,
    ) {
        if stamp.size <= BIG || !stamp.settled(begun) {
            return;
        }
        let at = begun.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.files.insert(path.to_owned(), Entry { stamp, digest: digest.clone(), at });
        self.changed = true;
        while self.files.len() > MOST {
            let oldest = self.files.iter().min_by_key(|(_, entry)| entry.at);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else { return };
            self.files.remove(&oldest);
        }
    }

    /// Writes it if it changed. A digest_cache that cannot be written costs only time.
    pub(crate) fn save(&mut self) {
        if std::mem::take(&mut self.changed)
            && let Ok(text) = serde_json::to_vec(&self.files)
        {
            let new = Utf8PathBuf::from(format!("{}.new", self.path));
            let written = create(&new).and_then(|mut file| {
                file.write_all(&text)
                    .and_then(|()| fs::rename(&new, &self.path))
                    .inspect_err(|_| drop(fs::remove_file(&new)))
            });
            drop(written);
        }
    }
}

fn load(path: &Utf8Path) -> io::Result<BTreeMap<Utf8PathBuf, Entry>> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// A file that only this process writes. Where another process writes one, this one writes none.
fn create(path: &Utf8Path) -> io::Result<File> {
    let make = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let age = fs::metadata(path)?.modified()?.elapsed();
            if age.is_ok_and(|age| age < LEFT) {
                return Err(error);
            }
            fs::remove_file(path)?;
            make()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(10);

    struct Fixture {
        folder: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("a folder") }
        }

        fn path(&self, name: &str) -> Utf8PathBuf {
            Utf8Path::from_path(self.folder.path()).expect("UTF-8").join(name)
        }

        fn file(&self, name: &str, size: u64) -> (Utf8PathBuf, Stamp) {
            let path = self.path(name);
            let file = File::create(&path).expect("a file");
            file.set_len(size).expect("a size");
            let stamp = Stamp::of(&file.metadata().expect("metadata"));
            (path, stamp)
        }
    }

    #[test]
    fn a_big_and_settled_file_is_remembered() {
        let now = SystemTime::now();
        for (size, begun, remembered) in [
            (BIG + 1, now + LATER, true),
            (BIG, now + LATER, false),
            (BIG + 1, now, false),
            (BIG + 1, now - LATER, false),
        ] {
            let fixture = Fixture::new();
            let (path, stamp) = fixture.file("disk", size);
            let digest = Digest::sha256("bytes");
            let mut digest_cache = DigestCache::read(&fixture.path("digest_cache"));
            digest_cache.put(&path, stamp.clone(), &digest, begun);
            digest_cache.save();
            let digest_cache = DigestCache::read(&fixture.path("digest_cache"));
            let found = digest_cache.get(&path, &stamp);
            assert_eq!(found, remembered.then_some(&digest), "{size} {begun:?}");
            assert!(!fixture.path("digest_cache.new").exists());
        }
    }

    #[test]
    fn a_file_that_changed_in_any_way_is_another() {
        let fixture = Fixture::new();
        let (path, stamp) = fixture.file("disk", BIG + 1);
        let mut digest_cache = DigestCache::read(&fixture.path("digest_cache"));
        digest_cache.put(&path, stamp.clone(), &Digest::sha256("bytes"), SystemTime::now() + LATER);
        assert!(digest_cache.get(&path, &stamp).is_some());
        assert!(digest_cache.get(&fixture.path("other"), &stamp).is_none());
        for other in [
            Stamp { dev: stamp.dev + 1, ..stamp.clone() },
            Stamp { ino: stamp.ino + 1, ..stamp.clone() },
            Stamp { size: stamp.size + 1, ..stamp.clone() },
            Stamp { mtime: stamp.mtime + 1, ..stamp.clone() },
            Stamp { ctime: stamp.ctime + 1, ..stamp.clone() },
        ] {
            assert!(digest_cache.get(&path, &other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_oldest_entries_are_forgotten() {
        let fixture = Fixture::new();
        let (_, stamp) = fixture.file("disk", BIG + 1);
        let mut digest_cache = DigestCache::read(&fixture.path("digest_cache"));
        let digest = Digest::sha256("bytes");
        for number in 0..MOST as u64 + 3 {
            let begun = SystemTime::now() + LATER + Duration::from_secs(number);
            digest_cache.put(Utf8Path::new(&format!("/{number}")), stamp.clone(), &digest, begun);
        }
        assert_eq!(digest_cache.files.len(), MOST);
        assert!(digest_cache.get(Utf8Path::new("/2"), &stamp).is_none());
        assert!(digest_cache.get(Utf8Path::new("/3"), &stamp).is_some());
    }

    #[test]
    fn a_damaged_memo_is_none_and_is_mended() {
        for damage in ["", "{", "[]", "{\"/a\":{\"dev\":1}}"] {
            let fixture = Fixture::new();
            fs::write(fixture.path("digest_cache"), damage).expect("written");
            let mut digest_cache = DigestCache::read(&fixture.path("digest_cache"));
            assert!(digest_cache.files.is_empty(), "{damage}");
            let (path, stamp) = fixture.file("disk", BIG + 1);
            digest_cache.put(&path, stamp, &Digest::sha256("bytes"), SystemTime::now() + LATER);
            digest_cache.save();
            assert_eq!(DigestCache::read(&fixture.path("digest_cache")).files.len(), 1, "{damage}");
        }
    }

    #[test]
    fn another_writers_file_is_left_alone_unless_it_is_old() {
        let fixture = Fixture::new();
        let (path, stamp) = fixture.file("disk", BIG + 1);
        let new = fixture.path("digest_cache.new");
        let remember = || {
            let mut digest_cache = DigestCache::read(&fixture.path("digest_cache"));
            let begun = SystemTime::now() + LATER;
            digest_cache.put(&path, stamp.clone(), &Digest::sha256("bytes"), begun);
            digest_cache.save();
        };
        let writer = File::create(&new).expect("a file");
        remember();
        assert!(new.exists() && !fixture.path("digest_cache").exists());
        writer.set_modified(SystemTime::now() - 2 * LEFT).expect("a time");
        remember();
        assert!(!new.exists() && fixture.path("digest_cache").exists());
    }

    #[test]
    fn no_place_for_it_is_no_error() {
        let fixture = Fixture::new();
        let (path, stamp) = fixture.file("disk", BIG + 1);
        let mut digest_cache = DigestCache::read(&fixture.path("no/digest_cache"));
        digest_cache.put(&path, stamp, &Digest::sha256("bytes"), SystemTime::now() + LATER);
        digest_cache.save();
        assert!(!fixture.path("no").exists());
    }
}

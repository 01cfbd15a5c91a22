//! The proof that a layer's files are those that were saved.
//!
//! A file's digest is SHA-256 over each of its 64 KiB blocks that is not all zero, as (the block's
//! number, u64 little-endian; its bytes), then over the file's length (u64 little-endian). Holes are
//! not read, and a file that was copied with other holes has the same digest.
//!
//! Reading gigabytes takes seconds; so `proved.json` beside the record remembers the stamps of files
//! that were proved: boot of the host, device, inode, size, times. A file with the same stamp was not
//! touched since and is trusted; any other is read again.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{DiskError, DiskFormat, DiskImage, DiskSource, zero};
use imgbake_types::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::{CacheError, CacheErrorKind, io_at};
use super::record::LayerFile;

/// The file's name in a layer's folder.
const FILE: &str = "proved.json";
const BLOCK: u64 = 64 << 10;
/// File times move in steps of the kernel's clock tick, at most 10 ms (`CONFIG_HZ` of 100): a file
/// that was changed less long ago can change again and keep its times.
const SETTLED: Duration = Duration::from_millis(20);

/// The digest of a file's content.
pub(super) fn digest(path: &Utf8Path) -> Result<Digest, DiskError> {
    let length = fs::metadata(path).map_err(|e| DiskError::io("cannot look at the file", e))?.len();
    let file = DiskImage::open_as(path, DiskFormat::Raw)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
    let mut next = 0;
    for extent in file.extents()? {
        let end = extent.end().min(length).div_ceil(BLOCK);
        for block in next.max(extent.offset / BLOCK)..end {
            let offset = block * BLOCK;
            let size = usize::try_from((length - offset).min(BLOCK)).unwrap_or_default();
            let bytes = &mut buffer[..size];
            file.read_at(offset, bytes)?;
            if !zero::is_zero(bytes) {
                hasher.update(block.to_le_bytes());
                hasher.update(bytes);
            }
        }
        next = next.max(end);
    }
    hasher.update(length.to_le_bytes());
    Ok(Digest::from_sha256(&hasher.finalize()))
}

/// What shows that a file was not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    boot: String,
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    /// The stamp of a file that is there and was not changed a moment ago.
    pub(crate) fn settled(path: &Utf8Path) -> Option<Self> {
        let stamp = Self::of(&fs::metadata(path).ok()?);
        stamp.is_settled().then_some(stamp)
    }

    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            boot: boot_id().to_owned(),
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.len(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change from now on would show in it.
    fn is_settled(&self) -> bool {
        let changed = u64::try_from(self.ctime.0).ok().zip(u32::try_from(self.ctime.1).ok());
        let changed = changed.map(|(secs, nanos)| UNIX_EPOCH + Duration::new(secs, nanos));
        let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        !self.boot.is_empty() && age.is_some_and(|age| age >= SETTLED)
    }
}

/// The host's boot (random(4), `boot_id`); empty where it is not reported.
fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

/// Why a file does not prove a layer.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It is not the file that was saved, and never will be.
    Wrong(String),
    /// It could not be read now.
    Unread(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Proved {
    digest: Digest,
    stamp: Stamp,
}

/// A layer's files that were proved.
#[derive(Debug)]
pub(super) struct Proofs {
    path: Utf8PathBuf,
    proved: BTreeMap<String, Proved>,
    changed: bool,
}

impl Proofs {
    /// What is remembered of a layer's folder: nothing where that cannot be read.
    pub(super) fn load(dir: &Utf8Path) -> Self {
        let path = dir.join(FILE);
        let proved = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, proved: proved.unwrap_or_default(), changed: false }
    }

    /// Proves that a file is the one that was saved.
    pub(super) fn check(
        &mut self,
        name: &str,
        path: &Utf8Path,
        file: &LayerFile,
    ) -> Result<(), Flaw> {
        let metadata = match look(path, file.file.is_absolute()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Flaw::Wrong(format!("its {name} is gone ({path})")));
            }
            Err(error) => return Err(Flaw::Unread(format!("cannot look at {path}: {error}"))),
        };
        let wrong = || Flaw::Wrong(format!("its {name} is not what was saved ({path})"));
        if !metadata.is_file() {
            return Err(wrong());
        }
        let stamp = Stamp::of(&metadata);
        let known = self.proved.get(name);
        if known.is_some_and(|known| known.stamp == stamp && known.digest == file.digest) {
            return Ok(());
        }
        let settled = stamp.is_settled();
        let digest = digest(path).map_err(|error| Flaw::Unread(error.to_string()))?;
        if digest != file.digest {
            return Err(wrong());
        }
        self.remember(name, path, digest, stamp, settled);
        Ok(())
    }

    /// Digests a file that becomes a layer's; `name` is that of a person, `file` what is recorded.
    pub(super) fn measure(
        &mut self,
        name: &str,
        path: &Utf8Path,
        file: Utf8PathBuf,
    ) -> Result<LayerFile, CacheError> {
        let metadata = look(path, file.is_absolute()).map_err(io_at("look at", path))?;
        if !metadata.is_file() {
            let why = format!("the layer's {name} is no plain file: {path}");
            return Err(CacheError::new(CacheErrorKind::Invalid, why));
        }
        let stamp = Stamp::of(&metadata);
        let digest = digest(path)?;
        // Only the maker writes to it, and is done: that it did not change meanwhile needs no proof.
        let settled = stamp.is_settled();
        self.remember(name, path, digest.clone(), stamp, settled);
        Ok(LayerFile { file, allocated: metadata.blocks() * 512, digest })
    }

    fn remember(&mut self, name: &str, path: &Utf8Path, digest: Digest, stamp: Stamp, now: bool) {
        let same = fs::metadata(path).is_ok_and(|metadata| Stamp::of(&metadata) == stamp);
        if now && same {
            self.proved.insert(name.to_owned(), Proved { digest, stamp });
            self.changed = true;
        }
    }

    /// Writes down what was proved. Where that fails, the next one reads the files again.
    pub(super) fn save(&self) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !self.changed {
            return;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let fresh = Utf8PathBuf::from(format!("{}.{}-{number}", self.path, std::process::id()));
        let bytes = serde_json::to_vec(&self.proved).unwrap_or_default();
        let written = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&fresh, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }
}

/// A file of the cache is no link to another; a file of the user's may be.
fn look(path: &Utf8Path, foreign: bool) -> io::Result<fs::Metadata> {
    if foreign { fs::metadata(path) } else { fs::symlink_metadata(path) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_digest_is_over_what_is_not_zero_and_the_length() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let write = |name: &str, length: u64, holes: bool| {
            let path = dir.join(name);
            let bytes = vec![0; usize::try_from(length).unwrap()];
            fs::write(&path, if holes { &[][..] } else { &bytes }).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(length).unwrap();
            file.write_all_at(b"here", 3 * BLOCK + 100).unwrap();
            file.write_all_at(b"end", length - 3).unwrap();
            digest(&path).unwrap()
        };
        let length = 40 * BLOCK + 777;
        let sparse = write("sparse", length, true);
        assert_eq!(sparse, write("full", length, false));
        assert_ne!(sparse, write("longer", length + 1, true));

        let mut hasher = Sha256::new();
        let mut third = vec![0; 64 << 10];
        third[100..104].copy_from_slice(b"here");
        let mut last = vec![0; 777];
        last[774..].copy_from_slice(b"end");
        for (number, bytes) in [(3_u64, third), (40, last)] {
            hasher.update(number.to_le_bytes());
            hasher.update(bytes);
        }
        hasher.update(length.to_le_bytes());
        assert_eq!(sparse, Digest::from_sha256(&hasher.finalize()));

        fs::write(dir.join("empty"), "").unwrap();
        let empty = digest(&dir.join("empty")).unwrap();
        assert_eq!(empty, Digest::sha256(0_u64.to_le_bytes()));
    }

    #[test]
    fn what_was_just_changed_is_not_trusted_by_its_times() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let secs = i64::try_from(now.as_secs()).unwrap();
        let stamp = |ctime, boot: &str| Stamp {
            boot: boot.to_owned(),
            dev: 1,
            ino: 2,
            size: 3,
            mtime: (0, 0),
            ctime,
        };
        assert!(stamp((secs - 1, 0), "a").is_settled());
        assert!(!stamp((secs, i64::from(now.subsec_nanos())), "a").is_settled());
        assert!(!stamp((secs + 60, 0), "a").is_settled());
        assert!(!stamp((secs - 60, 0), "").is_settled());
    }
}

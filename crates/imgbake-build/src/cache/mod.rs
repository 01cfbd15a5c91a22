//! The layer cache: the results of steps, kept for the next build.
//!
//! A layer is a folder `cache/layers/HEX`, named by the hexadecimal digits of its step's key:
//!
//! | file | is |
//! | --- | --- |
//! | `disk.qcow2` | the machine's disk, an overlay of the layer below (a source's: `disk.raw`, or a file elsewhere) |
//! | `state` | the machine's memory and devices, where they were kept |
//! | `kernel`, `initrd` | a source's, where it had them at hand |
//! | `layer.json` | the record, written last: without it, the folder is no layer |
//! | `proved.json` | which files were proved, and how they looked then |
//! | `used` | its time is when the layer was used last |
//!
//! Locks are flock(2) on two files a key in `cache/locks`. `HEX.make` is held alone by who makes the
//! layer or takes it away. `HEX.use` is shared by all that use the layer; who takes it away holds
//! it alone. Whoever uses a layer uses all below it. Nothing but `make` is waited for, and no
//! one waits while it holds a layer alone: so nothing waits for ever.

mod base;
mod claim;
mod draft;
mod error;
mod find;
mod layer;
mod lock;
mod mode;
mod proof;
mod prune;
mod record;
mod remove;
mod survey;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::Home;
use imgbake_types::{Digest, Size};
use rustix::fs::Access;

pub use claim::Claim;
pub use draft::{Draft, Hold, NewLayer, NewState};
pub use error::{CacheError, CacheErrorKind};
pub use find::Found;
pub use layer::Layer;
pub use mode::CacheMode;
pub(crate) use proof::Stamp;
pub use prune::{Pruned, Swept};
pub use record::{
    BaseRecord, DiskFile, KernelRecord, LayerFile, LayerRecord, ParentLayer, StateRecord,
};
pub use survey::LayerInfo;

#[cfg(feature = "fuzzing")]
pub(crate) use record::parse as parse_record;

use error::io_at;

/// The cache's format: what `layers/format` holds.
pub const FORMAT: u32 = 1;

/// The layers of one home. Clones are the same cache.
#[derive(Debug, Clone)]
pub struct LayerCache {
    layers: Utf8PathBuf,
    locks: Utf8PathBuf,
    budget: Size,
}

impl LayerCache {
    /// Opens a home's cache, and makes its folders where they are missing, private to the user.
    /// `budget` is what its layers may take on the disk.
    ///
    /// # Errors
    /// It cannot be used: read-only, full, not a folder, written by another version of imgbake. The
    /// words are for the user, and a build goes on without it.
    pub fn open(home: &Home, budget: Size) -> Result<Self, CacheError> {
        let cache = Self::at(home, budget);
        for dir in [&cache.layers, &cache.locks] {
            make_folder(dir)?;
        }
        cache.check_format()?;
        for dir in [&cache.layers, &cache.locks] {
            // The folder's mode alone does not show that: the file system may be read-only.
            rustix::fs::access(dir.as_std_path(), Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|errno| io_at("write into the folder", dir)(errno.into()))?;
        }
        Ok(cache)
    }

    /// The same cache to look at it, which may be another user's or on a read-only file system: nothing is made.
    ///
    /// # Errors
    /// It was written by another version of imgbake.
    pub fn open_existing(home: &Home) -> Result<Self, CacheError> {
        let cache = Self::at(home, Size::bytes(0));
        if cache.layers.join("format").exists() {
            cache.check_format()?;
        }
        Ok(cache)
    }

    fn at(home: &Home, budget: Size) -> Self {
        Self { layers: home.cache().join("layers"), locks: home.cache().join("locks"), budget }
    }

    /// What its layers may take on the disk.
    pub const fn budget(&self) -> Size {
        self.budget
    }

    /// Where a key's layer is, or would be.
    pub fn folder(&self, key: &Digest) -> Utf8PathBuf {
        self.layers.join(key.hex())
    }

    fn lock_path(&self, key: &Digest, what: &str) -> Utf8PathBuf {
        self.locks.join(format!("{}.{what}", key.hex()))
    }

    fn check_format(&self) -> Result<(), CacheError> {
        let path = self.layers.join("format");
        let found = match read_format(&path)? {
            Some(found) => found,
            None if is_empty(&self.layers)? => return self.write_format(&path),
            // Another process may have begun it between the two looks.
            None => read_format(&path)?.unwrap_or_else(|| "unknown".to_owned()),
        };
        if found == FORMAT.to_string() {
            return Ok(());
        }
        let words = format!(
            "the layer cache {} is of format {found}: this imgbake reads format {FORMAT}",
            self.layers
        );
        Err(CacheError::new(CacheErrorKind::Format, words)
            .help("`imgbake cache prune --all` empties it"))
    }

    fn write_format(&self, path: &Utf8Path) -> Result<(), CacheError> {
        let fresh = self.locks.join(format!("format.{}", uuid::Uuid::new_v4().simple()));
        let written = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| {
                file.write_all(format!("{FORMAT}\n").as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&fresh, path))
            .map_err(io_at("write", path));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written?;
        Ok(imgbake_runtime::journal::sync_dir(&self.layers)?)
    }

    /// The keys of all folders, layers or not.
    fn keys(&self) -> Result<Vec<Digest>, CacheError> {
        let mut keys = Vec::new();
        let entries =
            self.layers.read_dir_utf8().map_err(io_at("read the folder", &self.layers))?;
        for entry in entries {
            let entry = entry.map_err(io_at("read the folder", &self.layers))?;
            keys.extend(Digest::from_hex(entry.file_name()));
        }
        Ok(keys)
    }
}

fn make_folder(dir: &Utf8Path) -> Result<(), CacheError> {
    let help = |error: CacheError| error.help(format!("remove or mend {dir}"));
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        // What is there may be no folder; std shows that by this kind too.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !dir.is_dir() => {
            let words = format!("{dir} is not a folder");
            Err(help(CacheError::new(CacheErrorKind::Unusable, words)))
        }
        made => made.map_err(io_at("make the folder", dir)).map_err(help),
    }
}

/// The format's word: the first line, cut to what a person reads.
fn read_format(path: &Utf8Path) -> Result<Option<String>, CacheError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at("read", path)(error)),
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
            let word = text.lines().next().unwrap_or_default().trim();
            Ok(Some(if word.is_empty() { "unknown" } else { word }.to_owned()))
        }
    }
}

fn is_empty(dir: &Utf8Path) -> Result<bool, CacheError> {
    let mut entries = dir.read_dir_utf8().map_err(io_at("read the folder", dir))?;
    Ok(entries.next().is_none())
}

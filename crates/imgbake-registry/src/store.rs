//! The layout's folder: its marks, its lock, its index.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::blobs::Blobs;
use crate::files::{
    self, MAX_JSON, MAX_LIST, damaged, io_at, parse, read_bounded, read_small, sync_dir,
};
use crate::index::Index;

/// image-spec, image-layout.md, "oci-layout file".
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    image_layout_version: String,
}

const LAYOUT_VERSION: &str = "1.0.0";
/// What imgbake itself puts beside the mark before the mark is there.
const OWN: [&str; 4] = [".lock", "blobs", "publishing", "index.json"];

/// An open layout.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) root: Utf8PathBuf,
    pub(crate) blobs: Blobs,
}

/// The right to change a layout, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The lock lives as long as its open file.
    _file: File,
}

impl Store {
    /// Opens a layout, and makes an empty one where nothing is.
    pub(crate) fn open(root: Utf8PathBuf) -> Result<Self> {
        let store = Self { blobs: Blobs::new(&root), root };
        if !store.is_marked()? {
            store.create()?;
        }
        Ok(store)
    }

    /// Opens a layout that is there.
    pub(crate) fn open_existing(root: Utf8PathBuf) -> Result<Self> {
        let store = Self { blobs: Blobs::new(&root), root };
        if store.is_marked()? {
            return Ok(store);
        }
        let what = format!("there is no OCI image layout in {}", store.root);
        Err(BuildError::new(BuildErrorKind::NotFound, what))
    }

    fn is_marked(&self) -> Result<bool> {
        let path = self.root.join("oci-layout");
        let Some(bytes) = read_small(&path)? else { return Ok(false) };
        let mark: Mark = parse(&bytes, path.as_str())?;
        if mark.image_layout_version == LAYOUT_VERSION {
            return Ok(true);
        }
        let version = mark.image_layout_version;
        Err(damaged(format!(
            "{path} says layout version `{version}`: imgbake reads {LAYOUT_VERSION}"
        )))
    }

    fn create(&self) -> Result<()> {
        // Disks hold what only their owner should read, as the rest of IMGBAKE_HOME does.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&self.root).map_err(io_at("make the folder", &self.root))?;
        self.refuse_foreign()?;
        let _lock = self.lock()?;
        if self.is_marked()? {
            return Ok(());
        }
        for dir in [self.blobs.folder(), self.scratch()] {
            fs::create_dir_all(&dir).map_err(io_at("make the folder", &dir))?;
        }
        sync_dir(&self.root.join("blobs"))?;
        self.write_index(&Index::default())?;
        let mark = json(&Mark { image_layout_version: LAYOUT_VERSION.to_owned() })?;
        files::write(&self.scratch(), &self.root.join("oci-layout"), &mark)?;
        sync_dir(&self.root)
    }

    /// A folder that holds something else is left alone.
    fn refuse_foreign(&self) -> Result<()> {
        let root = &self.root;
        let foreign = |what: &str| {
            BuildError::new(
                BuildErrorKind::Usage,
                format!("{root} is no OCI image layout: it has {what}"),
            )
            .help("give the registry an empty folder or an OCI image layout")
        };
        for entry in root.read_dir_utf8().map_err(io_at("read the folder", root))? {
            let entry = entry.map_err(io_at("read the folder", root))?;
            // Another process may be making the layout right now: then the mark is there.
            if !OWN.contains(&entry.file_name()) && !self.is_marked()? {
                return Err(foreign(&format!("`{}` but no `oci-layout`", entry.file_name())));
            }
        }
        if !self.is_marked()? && self.has_blobs()? {
            let what = format!("{root} has blobs but no `oci-layout`: the registry is damaged");
            return Err(damaged(what).help(
                "put `oci-layout` and `index.json` back from a copy: without them nobody knows what the blobs are",
            ));
        }
        let index = root.join("index.json");
        match read_small(&index)? {
            Some(bytes)
                if parse::<Index>(&bytes, index.as_str())? != Index::default()
                    && !self.is_marked()? =>
            {
                Err(foreign("an `index.json` but no `oci-layout`"))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is any blob.
    fn has_blobs(&self) -> Result<bool> {
        let blobs = self.root.join("blobs");
        let algorithms = match blobs.read_dir_utf8() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found => found.map_err(io_at("read the folder", &blobs))?,
        };
        for folder in algorithms {
            let folder = folder.map_err(io_at("read the folder", &blobs))?.into_path();
            let mut files = folder.read_dir_utf8().map_err(io_at("read the folder", &folder))?;
            if files.next().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where files are before they have their names, and where `intent` keeps its own.
    pub(crate) fn scratch(&self) -> Utf8PathBuf {
        self.root.join("publishing")
    }

    /// Where leases are.
    pub(crate) fn leases(&self) -> Utf8PathBuf {
        self.root.join("leases")
    }

    fn open_lock(path: &Utf8Path) -> io::Result<File> {
        File::options().create(true).truncate(false).write(true).open(path)
    }

    /// Waits for the right to change the layout.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.root.join(".lock");
        let file = Self::open_lock(&path).map_err(io_at("open", &path))?;
        file.lock().map_err(io_at("lock", &path))?;
        Ok(Lock { _file: file })
    }

    /// The same to look at the layout while nobody changes it; none where this process may not change it
    /// either.
    pub(crate) fn lock_to_read(&self) -> Result<Option<Lock>> {
        let path = self.root.join(".lock");
        match Self::open_lock(&path) {
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(io_at("open", &path)(error)),
            Ok(file) => {
                file.lock().map_err(io_at("lock", &path))?;
                Ok(Some(Lock { _file: file }))
            }
        }
    }

    /// The right to change the layout, if nobody has it now.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.root.join(".lock");
        let file = match Self::open_lock(&path) {
            // Who may not change the layout leaves it as it is.
            Err(error) if is_refused(&error) => return Ok(None),
            opened => opened.map_err(io_at("open", &path))?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(io_at("lock", &path)(error)),
        }
    }

    /// Reads `index.json`.
    pub(crate) fn index(&self) -> Result<Index> {
        let path = self.root.join("index.json");
        let help = "put `index.json` back from a copy: it names every version";
        let bytes = read_bounded(&path, MAX_LIST)?.ok_or_else(|| {
            damaged(format!("{path} is missing: the registry is damaged")).help(help)
        })?;
        let index: Index = parse(&bytes, path.as_str()).map_err(|error| error.help(help))?;
        if index.schema_version != 2 {
            let version = index.schema_version;
            return Err(damaged(format!("{path} has schemaVersion {version}: imgbake reads 2")));
        }
        Ok(index)
    }

    /// Replaces `index.json` at once; durable when it returns. The lock must be held.
    pub(crate) fn write_index(&self, index: &Index) -> Result<()> {
        files::write(&self.scratch(), &self.root.join("index.json"), &list_json(index)?)?;
        sync_dir(&self.root)
    }

    /// Makes what an older or foreign layout may lack.
    pub(crate) fn ensure_folders(&self) -> Result<()> {
        for dir in [self.blobs.folder(), self.scratch()] {
            match fs::create_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_at("make the folder", &dir)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.root
    }
}

/// Whether the layout belongs to somebody else, or to a file system that cannot be written.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// A document's bytes; one too long to be read again is refused.
pub(crate) fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    bounded_json(value, MAX_JSON)
}

/// The same for one of the layout's own lists.
pub(crate) fn list_json(value: &impl Serialize) -> Result<Vec<u8>> {
    bounded_json(value, MAX_LIST)
}

fn bounded_json(value: &impl Serialize, most: u64) -> Result<Vec<u8>> {
    let bytes =
        serde_json::to_vec(value).map_err(|error| damaged("cannot write JSON").because(error))?;
    if bytes.len() as u64 > most {
        let limit = most >> 20;
        return Err(damaged(format!(
            "a registry document would be longer than {limit} MiB: too many names or blobs"
        )));
    }
    Ok(bytes)
}

//! ext2, ext3 and ext4 (Linux, `Documentation/filesystems/ext4/`).
//!
//! Names, data and metadata are read by the crate `ext4-view`, which also looks at the journal of a file
//! system that was not unmounted. It knows no extended attributes: `xattr` and what it is based on
//! (`layout`, `blocks`, `folder`) read those.

mod blocks;
mod error;
mod folder;
mod layout;
mod paths;
mod xattr;

use std::{
    fmt,
    io::{self, Read},
};

use ext4_view::{Ext4Read, FileType};

use self::error::{failed, shown};
use super::Volume;
use crate::{
    DiskError, DiskErrorKind, Result,
    bytes::{to_u64, to_usize},
};

pub use xattr::Xattr;

/// A folder with more entries than this is not read.
const MAX_ENTRIES: usize = 1 << 20;

/// What a name in a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A file with bytes.
    Regular,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Special,
}

/// A file's metadata, without its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Its type and permissions, as in `st_mode`.
    pub mode: u16,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Its length in bytes.
    pub len: u64,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it names.
    pub kind: FileKind,
}

/// An ext2, ext3 or ext4 file system. Paths are absolute; links in them are followed within the file
/// system.
pub struct Ext4 {
    view: ext4_view::Ext4,
    paths: paths::Paths,
    volume: Volume,
    len: u64,
}

impl fmt::Debug for Ext4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ext4").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl Ext4 {
    /// Opens the file system on a volume.
    ///
    /// # Errors
    /// `Unsupported`: it is none, or uses a feature that is not read. `Corrupt`: it contradicts itself.
    pub fn open(volume: Volume) -> Result<Self> {
        let layout::Summary { len, superblock } = layout::summary(&volume)?;
        let reader = Reader { volume: volume.clone(), superblock };
        let view = ext4_view::Ext4::load(Box::new(reader))
            .map_err(|error| failed("the ext4 file system", &error))?;
        Ok(Self { view, paths: paths::Paths::default(), volume, len })
    }

    /// Its length in bytes: no more than its volume's.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes; one that was opened always has some.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a path names anything; a link that leads nowhere does not.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        match self.metadata(path) {
            Err(error) if error.kind() == DiskErrorKind::NotFound => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// The metadata of what a path names; a link is followed.
    pub fn metadata(&self, path: impl AsRef<[u8]>) -> Result<Metadata> {
        let path = path.as_ref();
        let followed = self.paths.follow(&self.view, path)?;
        let found = self.view.metadata(&followed[..]).map_err(|e| failed(&shown(path), &e))?;
        Ok(metadata(&found))
    }

    /// The metadata of what a path names; a link's own.
    pub fn link_metadata(&self, path: impl AsRef<[u8]>) -> Result<Metadata> {
        let path = path.as_ref();
        let above = self.paths.above(&self.view, path)?;
        let found = self.view.symlink_metadata(&above[..]).map_err(|e| failed(&shown(path), &e))?;
        Ok(metadata(&found))
    }

    /// Where a link leads, as it is written in it.
    pub fn link_target(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        paths::target(&self.view, &self.paths.above(&self.view, path.as_ref())?)
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// `Unsupported`: it has more than `limit` bytes.
    pub fn read(&self, path: impl AsRef<[u8]>, limit: u64) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let mut file = self.open_file(path)?;
        if file.len() > limit {
            let why = format!("{} has {} bytes, more than {limit}", shown(path), file.len());
            return Err(DiskError::unsupported(why));
        }
        let mut bytes = vec![0; to_usize(file.len())];
        file.read_exact(&mut bytes)
            .map_err(|error| DiskError::corrupt(format!("{}: {error}", shown(path))))?;
        Ok(bytes)
    }

    /// A file, to be read from its start.
    pub fn open_file(&self, path: impl AsRef<[u8]>) -> Result<Ext4File> {
        let path = path.as_ref();
        let followed = self.paths.follow(&self.view, path)?;
        let file = self.view.open(&followed[..]).map_err(|error| failed(&shown(path), &error))?;
        Ok(Ext4File(file))
    }

    /// A folder's names, without `.` and `..`, in the order in which they are stored.
    pub fn list(&self, path: impl AsRef<[u8]>) -> Result<Vec<Entry>> {
        let path = path.as_ref();
        let mut entries = Vec::new();
        let followed = self.paths.follow(&self.view, path)?;
        let read = self.view.read_dir(&followed[..]);
        for entry in read.map_err(|error| failed(&shown(path), &error))? {
            let entry = entry.map_err(|error| failed(&shown(path), &error))?;
            let name = entry.file_name().as_ref().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            if entries.len() == MAX_ENTRIES {
                let why = format!("{} has more than {MAX_ENTRIES} entries", shown(path));
                return Err(DiskError::unsupported(why));
            }
            let kind = entry.file_type().map_err(|error| failed(&shown(path), &error))?;
            entries.push(Entry { name, kind: file_kind(kind) });
        }
        Ok(entries)
    }

    /// The extended attributes of what a path names, a link's own, sorted by name.
    ///
    /// # Errors
    /// `Unsupported`: the file system was not unmounted: its journal may hold newer ones.
    pub fn xattrs(&self, path: impl AsRef<[u8]>) -> Result<Vec<Xattr>> {
        let path = path.as_ref();
        // The view also checks the inode's checksum.
        self.link_metadata(path)?;
        let resolved = self.paths.above(&self.view, path)?;
        let layout = layout::Layout::read(&self.volume)?;
        let inode = folder::resolve(&layout, &resolved)?;
        xattr::read(&layout, &inode)
            .map_err(|error| DiskError::new(error.kind(), format!("{}: {error}", shown(path))))
    }
}

/// An open file.
pub struct Ext4File(ext4_view::File);

impl Ext4File {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.0.metadata().len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Ext4File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ext4File").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Read for Ext4File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_bytes(buffer).map_err(|error| io::Error::other(error.to_string()))
    }
}

struct Reader {
    volume: Volume,
    superblock: Option<Vec<u8>>,
}

impl Ext4Read for Reader {
    fn read(
        &mut self,
        at: u64,
        buffer: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.volume.read_at(at, buffer)?;
        if let Some(superblock) = &self.superblock {
            layout::show_superblock(superblock, at, buffer);
        }
        Ok(())
    }
}

fn metadata(found: &ext4_view::Metadata) -> Metadata {
    Metadata {
        kind: file_kind(found.file_type()),
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        len: found.len(),
    }
}

fn file_kind(kind: FileType) -> FileKind {
    match kind {
        FileType::Regular => FileKind::Regular,
        FileType::Directory => FileKind::Folder,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Special,
    }
}

#[cfg(test)]
mod tests;

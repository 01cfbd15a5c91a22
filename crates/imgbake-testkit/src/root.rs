//! The root file system of a raw disk, read without starting it, and compared with another.

use std::collections::BTreeMap;

use camino::Utf8Path;
use ext4_view::{Ext4, Ext4Read, FileType};
use imgbake_disk::gpt::{Partition, TYPE_BIOS_BOOT, TYPE_ESP, read_partitions};
use imgbake_disk::{DiskImage, DiskSource};
use imgbake_types::Digest;

/// A disk's root file system.
pub struct Root(Ext4);

/// What two images made of one template may differ in.
#[derive(Debug, Clone, Copy)]
pub struct Volatile {
    /// A path; one that ends in `/` is a folder, with all below it.
    pub path: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// What is compared of a file: all but its times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    kind: FileType,
    mode: u16,
    owner: (u32, u32),
    /// A file's bytes; a folder's depend on its history.
    size: u64,
    /// A file's digest, a link's target.
    content: String,
}

impl Root {
    /// Finds the one ext4 partition of a raw disk.
    pub fn open(disk: &Utf8Path) -> Self {
        let image = DiskImage::open(disk).unwrap();
        let partitions = read_partitions(&image).unwrap();
        let mut roots =
            partitions.iter().filter(|p| ![TYPE_ESP, TYPE_BIOS_BOOT].contains(&p.type_guid));
        let root = roots.next().unwrap();
        assert!(roots.next().is_none(), "{disk} has more than one root: {partitions:?}");
        Self(Ext4::load(Box::new(Slice::new(image, root))).unwrap())
    }

    /// A file's bytes.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        self.0.read(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The SHA-256 of a file's bytes, in hexadecimal digits.
    pub fn digest(&self, path: &str) -> String {
        Digest::sha256(self.read(path)).hex().to_owned()
    }

    fn files(&self) -> BTreeMap<String, Facts> {
        let mut files = BTreeMap::new();
        let mut folders = vec!["/".to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.0.read_dir(&folder).unwrap() {
                let path = entry.unwrap().path().to_str().unwrap().to_owned();
                if path.ends_with("/.") || path.ends_with("/..") {
                    continue;
                }
                let facts = self.facts(&path);
                if facts.kind.is_dir() {
                    folders.push(path.clone());
                }
                files.insert(path, facts);
            }
        }
        files
    }

    fn facts(&self, path: &str) -> Facts {
        let metadata = self.0.symlink_metadata(path).unwrap();
        let kind = metadata.file_type();
        let (size, content) = match kind {
            FileType::Regular => (metadata.len(), self.digest(path)),
            FileType::Symlink => {
                (metadata.len(), self.0.read_link(path).unwrap().display().to_string())
            }
            _ => (0, String::new()),
        };
        let owner = (metadata.uid(), metadata.gid());
        Facts { kind, mode: metadata.mode(), owner, size, content }
    }
}

/// Every path whose type, mode, owner, size or content is not the same in both, apart from volatile
/// ones; each with what it is in the one and in the other.
pub fn differences(one: &Root, other: &Root, volatile: &[Volatile]) -> Vec<String> {
    let (one, other) = (one.files(), other.files());
    assert!(one.len() > 50, "a root with {} files is none", one.len());
    let spared = |path: &str| {
        volatile.iter().any(|v| match v.path.strip_suffix('/') {
            Some(folder) => path == folder || path.starts_with(v.path),
            None => path == v.path,
        })
    };
    let mut paths: Vec<&String> = one.keys().chain(other.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| !spared(path) && one.get(*path) != other.get(*path))
        .map(|path| format!("{path}: {:?} and {:?}", one.get(path), other.get(path)))
        .collect()
}

/// One partition of a disk.
struct Slice {
    image: DiskImage,
    offset: u64,
    len: u64,
}

impl Slice {
    fn new(image: DiskImage, partition: &Partition) -> Self {
        Self { image, offset: partition.offset(), len: partition.len() }
    }
}

impl Ext4Read for Slice {
    fn read(
        &mut self,
        start: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let end = start.checked_add(dst.len() as u64).filter(|&end| end <= self.len);
        end.ok_or("past the partition's end")?;
        Ok(self.image.read_at(self.offset + start, dst)?)
    }
}

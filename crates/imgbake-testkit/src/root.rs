//! The root file system of a raw disk, read without starting it, and compared with another.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use imgbake_disk::DiskImage;
use imgbake_disk::fs::ext4::{FileKind, Xattr};
use imgbake_disk::fs::{Ext4, Volume};
use imgbake_disk::gpt::{TYPE_BIOS_BOOT, TYPE_ESP, read_partitions};
use imgbake_types::Digest;

/// A file in an image has no more bytes than this.
const MAX_FILE: u64 = 1 << 30;

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
    kind: FileKind,
    mode: u16,
    owner: (u32, u32),
    /// A file's bytes; a folder's depend on its history.
    size: u64,
    /// A file's digest, a link's target.
    content: String,
    /// Capabilities and access lists among them.
    xattrs: Vec<Xattr>,
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
        Self(Ext4::open(Volume::partition(Arc::new(image), root)).unwrap())
    }

    /// A file's bytes.
    #[track_caller]
    pub fn read(&self, path: &str) -> Vec<u8> {
        self.0.read(path, MAX_FILE).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The SHA-256 of a file's bytes, in hexadecimal digits.
    pub fn digest(&self, path: &str) -> String {
        Digest::sha256(self.read(path)).hex().to_owned()
    }

    fn files(&self) -> BTreeMap<String, Facts> {
        let mut files = BTreeMap::new();
        let mut folders = vec!["/".to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.0.list(&folder).unwrap() {
                let name = String::from_utf8(entry.name).unwrap();
                let path = format!("{}/{name}", folder.trim_end_matches('/'));
                if entry.kind == FileKind::Folder {
                    folders.push(path.clone());
                }
                let facts = self.facts(&path);
                files.insert(path, facts);
            }
        }
        files
    }

    fn facts(&self, path: &str) -> Facts {
        let metadata = self.0.link_metadata(path).unwrap();
        let (size, content) = match metadata.kind {
            FileKind::Regular => (metadata.len, self.digest(path)),
            FileKind::Link => {
                let target = self.0.link_target(path).unwrap();
                (metadata.len, String::from_utf8_lossy(&target).into_owned())
            }
            FileKind::Folder | FileKind::Special => (0, String::new()),
        };
        let owner = (metadata.uid, metadata.gid);
        let xattrs = self.0.xattrs(path).unwrap();
        Facts { kind: metadata.kind, mode: metadata.mode, owner, size, content, xattrs }
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

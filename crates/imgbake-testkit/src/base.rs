//! Base disks of tests.

use camino::Utf8PathBuf;
use imgbake_build::{BaseDisk, LocalDisk};
use imgbake_disk::DiskFormat;
use imgbake_types::Digest;
use imgbake_types::record::Parent;

/// A raw disk as what a machine starts from.
pub(crate) fn raw_base(path: Utf8PathBuf) -> BaseDisk {
    let virtual_size = path.metadata().unwrap().len();
    let parent = Parent {
        reference: None,
        native: None,
        digest: Digest::sha256("base"),
        kind: "url".to_owned(),
    };
    let disk =
        LocalDisk { path, format: DiskFormat::Raw, virtual_size, kernel: None, extra: Vec::new() };
    BaseDisk { location: disk.into(), parent, bytes: 0, cached: false }
}

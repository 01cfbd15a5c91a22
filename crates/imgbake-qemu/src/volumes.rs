//! The file systems of a disk that can be read without starting it.

use std::sync::Arc;

use camino::Utf8Path;
use imgbake_disk::fs::{Ext4, Volume};
use imgbake_disk::gpt::{Partition, TYPE_BIOS_BOOT, TYPE_ESP, read_partitions};
use imgbake_disk::{DiskError, DiskFormat, DiskImage};

/// Where a `grub.cfg` is, on a root partition and on one for `/boot`.
const CONFIGS: [&str; 4] =
    ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub/grub.cfg", "/grub2/grub.cfg"];

/// A disk's ext4 file systems.
#[derive(Debug)]
pub(crate) struct Volumes {
    image: Arc<DiskImage>,
    systems: Vec<(Partition, Ext4)>,
}

impl Volumes {
    /// Opens what can be read of a disk.
    pub(crate) fn open(disk: &Utf8Path, format: DiskFormat) -> Result<Self, DiskError> {
        let image = Arc::new(DiskImage::open_as(disk, format)?);
        let partitions = read_partitions(&*image)?;
        let systems = partitions
            .into_iter()
            .filter(|partition| ![TYPE_ESP, TYPE_BIOS_BOOT].contains(&partition.type_guid))
            .filter_map(|partition| {
                let source: Arc<DiskImage> = Arc::clone(&image);
                let system = Ext4::open(Volume::partition(source, &partition)).ok()?;
                Some((partition, system))
            })
            .collect();
        Ok(Self { image, systems })
    }

    /// The disk.
    pub(crate) fn image(&self) -> &DiskImage {
        &self.image
    }

    /// Each file system with a `grub.cfg`, and that file's path.
    pub(crate) fn boot(&self) -> impl Iterator<Item = (&Ext4, &'static str)> {
        self.systems.iter().filter_map(|(_, system)| {
            let config = CONFIGS.into_iter().find(|path| system.exists(path).unwrap_or(false))?;
            Some((system, config))
        })
    }

    /// The root file system, and its partition.
    pub(crate) fn root(&self) -> Option<&(Partition, Ext4)> {
        self.systems.iter().find(|(_, system)| system.exists("/etc/passwd").unwrap_or(false))
    }
}

//! Where a disk's partitions lie. Pure.
//!
//! ```text
//! sector 0      protective MBR with GRUB's boot.img
//!     2048      BIOS boot partition, 1 MiB: GRUB's core.img
//!     4096      EFI system partition, 64 MiB
//!   135168      root, up to 1 MiB before the disk's end
//! ```

use imgbake_disk::gpt::{
    PartitionSpec, SECTOR, TYPE_BIOS_BOOT, TYPE_ESP, TYPE_ROOT_ARM64, TYPE_ROOT_X86_64,
    guid_from_seed,
};
use imgbake_types::{Arch, Digest};
use uuid::Uuid;

/// Partitions start and end on whole mebibytes.
const MIB: u64 = 1 << 20;
/// The BIOS boot partition's first byte and length.
const BIOS_BOOT: (u64, u64) = (MIB, MIB);
/// The EFI system partition's first byte and length.
const ESP: (u64, u64) = (2 * MIB, 64 * MIB);

/// The layout of one disk, with identifiers that its key decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLayout {
    /// The disk's length in bytes.
    pub size: u64,
    /// The disk's GUID.
    pub disk_guid: Uuid,
    /// The root file system's UUID, which is its hash seed as well.
    pub root_uuid: Uuid,
    /// The EFI system partition's volume serial number.
    pub esp_id: u32,
    /// The partitions, in order: BIOS boot, ESP, root.
    pub partitions: Vec<PartitionSpec>,
}

impl DiskLayout {
    /// Bytes before the root.
    pub const ROOT_OFFSET: u64 = ESP.0 + ESP.1;
    /// Bytes behind the root, of which the backup table takes the last 33 sectors.
    pub const TAIL: u64 = MIB;
    /// The smallest disk: a root of 32 MiB.
    pub const MIN_SIZE: u64 = Self::ROOT_OFFSET + Self::TAIL + 32 * MIB;
    /// The EFI system partition's first byte.
    pub const ESP_OFFSET: u64 = ESP.0;
    /// Its length in bytes.
    pub const ESP_LEN: u64 = ESP.1;
    /// The first sector of the BIOS boot partition: where GRUB's core begins.
    pub const CORE_SECTOR: u64 = BIOS_BOOT.0 / SECTOR;
    /// The length of the BIOS boot partition in bytes.
    pub const CORE_LEN: u64 = BIOS_BOOT.1;

    /// The layout of a disk of `size` bytes.
    pub fn new(arch: Arch, key: &Digest, size: u64) -> Self {
        let seed = key.hex();
        let part = |name: &str, type_guid, (offset, len): (u64, u64)| PartitionSpec {
            type_guid,
            unique_guid: guid_from_seed(seed, name),
            name: name.to_owned(),
            first_lba: offset / SECTOR,
            sectors: len / SECTOR,
        };
        let root = match arch {
            Arch::X86_64 => TYPE_ROOT_X86_64,
            Arch::Aarch64 => TYPE_ROOT_ARM64,
        };
        let root_len = size.saturating_sub(Self::ROOT_OFFSET + Self::TAIL) / MIB * MIB;
        Self {
            size,
            disk_guid: guid_from_seed(seed, "disk"),
            root_uuid: Self::root_uuid(key),
            esp_id: guid_from_seed(seed, "esp volume").as_fields().0,
            partitions: vec![
                part("bios-boot", TYPE_BIOS_BOOT, BIOS_BOOT),
                part("esp", TYPE_ESP, ESP),
                part("root", root, (Self::ROOT_OFFSET, root_len)),
            ],
        }
    }

    /// The root file system's UUID for a key.
    pub fn root_uuid(key: &Digest) -> Uuid {
        guid_from_seed(key.hex(), "root file system")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_and_fit() {
        for size in [DiskLayout::MIN_SIZE, 1 << 30, (3 << 30) + 512] {
            let layout = DiskLayout::new(Arch::X86_64, &Digest::sha256("k"), size);
            let parts = &layout.partitions;
            for pair in parts.windows(2) {
                assert_eq!(pair[0].first_lba + pair[0].sectors, pair[1].first_lba);
            }
            assert_eq!((parts[0].first_lba, parts[0].sectors), (2048, 2048));
            assert_eq!((parts[1].first_lba, parts[1].sectors), (4096, 131_072));
            let end = (parts[2].first_lba + parts[2].sectors) * SECTOR;
            assert!(end + 33 * SECTOR <= size && size - end < 3 * MIB, "{size}");
        }
    }

    #[test]
    fn the_key_decides_every_identifier() {
        let layout = |key: &str| DiskLayout::new(Arch::X86_64, &Digest::sha256(key), 1 << 30);
        assert_eq!(layout("a"), layout("a"));
        let (a, b) = (layout("a"), layout("b"));
        assert_ne!(a.disk_guid, b.disk_guid);
        assert_ne!(a.root_uuid, b.root_uuid);
        assert_ne!(a.esp_id, b.esp_id);
        for (one, other) in a.partitions.iter().zip(&b.partitions) {
            assert_ne!(one.unique_guid, other.unique_guid);
        }
        let arm = DiskLayout::new(Arch::Aarch64, &Digest::sha256("a"), 1 << 30);
        assert_eq!(arm.partitions[2].type_guid, TYPE_ROOT_ARM64);
    }
}

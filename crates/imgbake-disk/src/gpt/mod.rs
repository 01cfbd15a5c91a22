//! GUID partition tables (UEFI 2.10, section 5), on disks with sectors of 512 bytes.

mod grow;
mod read;
mod write;

use uuid::{Uuid, uuid};

pub use grow::{Patch, grow};
pub use read::read_partitions;
pub use write::write_gpt;

/// Bytes in a sector.
pub const SECTOR: u64 = 512;
/// The first sector a partition may use: after the protective MBR, the header and 128 entries.
pub const FIRST_USABLE: u64 = 34;
/// Sectors at the disk's end that the backup table takes.
pub const BACKUP_SECTORS: u64 = 33;

/// EFI system partition (UEFI 2.10, table 5.7).
pub const TYPE_ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// GRUB's BIOS boot partition.
pub const TYPE_BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
/// Any Linux file system.
pub const TYPE_LINUX: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// A root file system for x86-64 (UAPI Discoverable Partitions Specification).
pub const TYPE_ROOT_X86_64: Uuid = uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709");
/// A root file system for 64-bit ARM (UAPI Discoverable Partitions Specification).
pub const TYPE_ROOT_ARM64: Uuid = uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae");

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_LEN: usize = 92;
const ENTRY_LEN: usize = 128;
const ENTRIES: usize = 128;
/// A name is 36 UTF-16 units.
const NAME_UNITS: usize = 36;

/// A partition to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// What it is for.
    pub type_guid: Uuid,
    /// Its own identifier; [`guid_from_seed`] makes one that stays the same.
    pub unique_guid: Uuid,
    /// Its name: at most 36 UTF-16 units.
    pub name: String,
    /// Its first sector.
    pub first_lba: u64,
    /// Its length in sectors.
    pub sectors: u64,
}

/// A partition that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1, as in `/dev/vda1`.
    pub index: u32,
    /// What it is for.
    pub type_guid: Uuid,
    /// Its own identifier.
    pub unique_guid: Uuid,
    /// Its name.
    pub name: String,
    /// Its first sector.
    pub first_lba: u64,
    /// Its length in sectors.
    pub sectors: u64,
}

impl Partition {
    /// Its first byte on the disk.
    pub fn offset(&self) -> u64 {
        self.first_lba * SECTOR
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Whether it has no sectors; one that was read always has some.
    pub fn is_empty(&self) -> bool {
        self.sectors == 0
    }
}

/// The GUID that `seed` and `purpose` decide: same words, same GUID.
pub fn guid_from_seed(seed: &str, purpose: &str) -> Uuid {
    crate::guid::derive(seed, purpose)
}

#[cfg(test)]
mod tests;

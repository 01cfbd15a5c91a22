//! Making the last partition of a disk as long as a longer disk lets it be, as growpart(1) does in a guest.
//!
//! Nothing is written here: a longer overlay holds what changes of its backing file.

use super::read::{Table, read_best};
use super::{BACKUP_SECTORS, SECTOR, write::header_sum};
use crate::{
    DiskSource, Result,
    bytes::{le64, put, to_u64, to_usize},
};

/// Partitions end at a multiple of these sectors: a file system's block.
const ALIGN: u64 = 8;
/// Less than this is no gain.
const LEAST_GAIN: u64 = (1 << 20) / SECTOR;

/// Bytes at a place of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The first byte's place.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What must be written over `source` on a disk of `len` bytes so that partition `index`, the last one on
/// it, reaches the disk's end. `None`: another partition lies behind it, or there is nothing to gain.
/// Partition attributes, identifiers and boot code stay.
///
/// # Errors
/// As [`super::read_partitions`].
pub fn grow(source: &dyn DiskSource, index: u32, len: u64) -> Result<Option<Vec<Patch>>> {
    let mut table = read_best(source)?;
    let sectors = len / SECTOR;
    let Some(end) = sectors.checked_sub(BACKUP_SECTORS).map(|end| end / ALIGN * ALIGN) else {
        return Ok(None);
    };
    let partitions = table.partitions(sectors)?;
    let Some(own) = partitions.iter().find(|partition| partition.index == index) else {
        return Ok(None);
    };
    let own_end = own.first_lba + own.sectors;
    let behind = partitions.iter().any(|other| other.first_lba >= own_end);
    // The backup of a longer table would need more room than it is given here.
    if behind || end < own_end + LEAST_GAIN || table.entry_sectors() + 1 > BACKUP_SECTORS {
        return Ok(None);
    }
    let at = to_usize(u64::from(index - 1)) * table.entry_len;
    put(&mut table.entries, at + 40, &(end - 1).to_le_bytes());
    Ok(Some(patches(source, &table, sectors)?))
}

fn patches(source: &dyn DiskSource, table: &Table, sectors: u64) -> Result<Vec<Patch>> {
    let last = sectors - 1;
    let backup_at = last - table.entry_sectors();
    let header = |own: u64, other: u64, entries_at: u64| {
        let mut header = table.header;
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 48, &(sectors - BACKUP_SECTORS - 1).to_le_bytes());
        put(&mut header, 72, &entries_at.to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(&table.entries).to_le_bytes());
        header_sum(&mut header);
        header.to_vec()
    };
    let mut mbr = vec![0; to_usize(SECTOR)];
    source.read_at(0, &mut mbr)?;
    // The protective partition's length (UEFI 2.10, section 5.2.3).
    if mbr[450] == 0xEE {
        put(&mut mbr, 458, &u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    }
    // Where the primary's entries are; a table that was read from its backup says where that's are.
    let primary_at = if le64(&table.header, 24) == 1 { le64(&table.header, 72) } else { 2 };
    Ok(vec![
        Patch { offset: 0, bytes: mbr },
        Patch { offset: SECTOR, bytes: header(1, last, primary_at) },
        Patch { offset: primary_at * SECTOR, bytes: table.entries.clone() },
        Patch { offset: backup_at * SECTOR, bytes: table.entries.clone() },
        Patch { offset: last * SECTOR, bytes: header(last, 1, backup_at) },
    ])
}

impl Table {
    /// Sectors that the entries take.
    fn entry_sectors(&self) -> u64 {
        to_u64(self.entries.len()).div_ceil(SECTOR)
    }
}

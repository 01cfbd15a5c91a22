//! Reading a table: the primary, or where that is broken the backup.

use uuid::Uuid;

use super::{ENTRY_LEN, HEADER_LEN, NAME_UNITS, Partition, SECTOR, SIGNATURE};
use crate::{
    DiskError, DiskSource, Result,
    bytes::{array, le32, le64, to_usize},
};

/// The specification asks for at least 128 entries; no tool writes more than this.
const MAX_ENTRIES: u32 = 1024;
const MAX_ENTRY_LEN: u32 = 1024;

/// A table that holds.
pub(super) struct Table {
    /// The header's sector, its checksum cleared.
    pub(super) header: [u8; 512],
    /// All entries, those in use and others.
    pub(super) entries: Vec<u8>,
    /// Bytes in one of them.
    pub(super) entry_len: usize,
    /// Where the header is.
    at: u64,
}

/// The partitions of a disk, by number. An error of kind `Unsupported` says that the disk has no
/// GPT, one of kind `Corrupt` that neither copy of it holds.
pub fn read_partitions(source: &dyn DiskSource) -> Result<Vec<Partition>> {
    read_best(source)?.partitions(source.virtual_size() / SECTOR)
}

/// The primary table, or where that is broken the backup.
pub(super) fn read_best(source: &dyn DiskSource) -> Result<Table> {
    let sectors = source.virtual_size() / SECTOR;
    if sectors < 3 {
        return Err(DiskError::unsupported("the disk is too small for a GPT"));
    }
    let holds = |lba| {
        let table = read_table(source, lba, sectors)?;
        table.partitions(sectors).map(|_| table)
    };
    let primary = match holds(1) {
        Ok(table) => return Ok(table),
        Err(error) => error,
    };
    holds(sectors - 1).map_err(|_backup| primary)
}

fn read_table(source: &dyn DiskSource, lba: u64, sectors: u64) -> Result<Table> {
    let mut header = [0; 512];
    source.read_at(lba * SECTOR, &mut header)?;
    if &header[..8] != SIGNATURE {
        return Err(DiskError::unsupported("the disk has no GPT").at(lba * SECTOR));
    }
    let bad = |why: &str| DiskError::corrupt(format!("the GPT's {why}")).at(lba * SECTOR);
    let len = to_usize(le32(&header, 12).into());
    if !(HEADER_LEN..=header.len()).contains(&len) {
        return Err(bad("header length is out of bounds"));
    }
    let claimed = le32(&header, 16);
    header[16..20].fill(0);
    if crc32fast::hash(&header[..len]) != claimed {
        return Err(bad("header checksum is wrong"));
    }
    let (count, entry_len) = (le32(&header, 80), le32(&header, 84));
    if count > MAX_ENTRIES || entry_len > MAX_ENTRY_LEN || to_usize(entry_len.into()) < ENTRY_LEN {
        return Err(bad("number or size of entries is out of bounds"));
    }
    let at = le64(&header, 72);
    let bytes = u64::from(count) * u64::from(entry_len);
    if at.checked_add(bytes.div_ceil(SECTOR)).is_none_or(|end| end > sectors) {
        return Err(bad("entries lie past the disk's end"));
    }
    let mut entries = vec![0; to_usize(bytes)];
    source.read_at(at * SECTOR, &mut entries)?;
    if crc32fast::hash(&entries) != le32(&header, 88) {
        return Err(bad("entries' checksum is wrong"));
    }
    Ok(Table { header, entries, entry_len: to_usize(entry_len.into()), at: lba * SECTOR })
}

impl Table {
    /// The partitions, by number, of a disk with so many sectors.
    pub(super) fn partitions(&self, sectors: u64) -> Result<Vec<Partition>> {
        let entries = self.entries.chunks_exact(self.entry_len).zip(1..);
        let used = entries.filter(|(entry, _)| entry[..16] != [0; 16]);
        used.map(|(entry, index)| {
            parse_entry(entry, index, sectors).ok_or_else(|| {
                let why = format!("the GPT's partition {index} lies past the disk's end");
                DiskError::corrupt(why).at(self.at)
            })
        })
        .collect()
    }
}

fn parse_entry(entry: &[u8], index: u32, sectors: u64) -> Option<Partition> {
    let (first_lba, last) = (le64(entry, 32), le64(entry, 40));
    let fits = first_lba <= last && last < sectors;
    let units = (0..NAME_UNITS).map(|unit| u16::from_le_bytes(array(entry, 56 + 2 * unit)));
    let name = char::decode_utf16(units.take_while(|unit| *unit != 0));
    fits.then(|| Partition {
        index,
        type_guid: Uuid::from_bytes_le(array(entry, 0)),
        unique_guid: Uuid::from_bytes_le(array(entry, 16)),
        name: name.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        first_lba,
        sectors: last - first_lba + 1,
    })
}

//! Writing both tables and the protective MBR.

use camino::Utf8Path;
use uuid::Uuid;

use super::{
    BACKUP_SECTORS, ENTRIES, ENTRY_LEN, FIRST_USABLE, HEADER_LEN, NAME_UNITS, PartitionSpec,
    SECTOR, SIGNATURE,
};
use crate::{
    DiskError, Result,
    bytes::{le32, put, to_u64, to_usize},
    file::{HostFile, OutFile},
};

/// Sectors that the entries take.
const ENTRY_SECTORS: u64 = 32;

/// Writes a GPT with `partitions` onto the raw disk at `path`, whose length is the disk's. The
/// first 440 bytes, where a BIOS boot loader lives, stay as they are; so does all other content.
pub fn write_gpt(path: &Utf8Path, disk_guid: Uuid, partitions: &[PartitionSpec]) -> Result<()> {
    let sectors = HostFile::open(path)?.len / SECTOR;
    check(partitions, sectors).map_err(|e| e.in_file(path))?;
    let mut entries = vec![0; ENTRIES * ENTRY_LEN];
    for (entry, partition) in entries.chunks_exact_mut(ENTRY_LEN).zip(partitions) {
        put_entry(entry, partition);
    }
    let last = sectors - 1;
    let table = |own: u64, other: u64, entries_at: u64| {
        header(&Header { own, other, entries_at, last, disk_guid }, &entries)
    };
    let out = OutFile::open(path)?;
    // The backup first: whatever stops us, one table is whole.
    out.write((sectors - BACKUP_SECTORS) * SECTOR, &entries)?;
    out.write(last * SECTOR, &table(last, 1, sectors - BACKUP_SECTORS))?;
    out.write(2 * SECTOR, &entries)?;
    out.write(SECTOR, &table(1, last, 2))?;
    out.write(440, &protective_mbr(sectors))?;
    out.sync()
}

fn check(partitions: &[PartitionSpec], sectors: u64) -> Result<()> {
    if sectors < FIRST_USABLE + BACKUP_SECTORS + 1 {
        return Err(DiskError::full(format!("a GPT does not fit on {sectors} sectors")));
    }
    if partitions.len() > ENTRIES {
        return Err(DiskError::full(format!("{} partitions: 128 at most", partitions.len())));
    }
    let mut sorted: Vec<_> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.first_lba);
    let mut free = FIRST_USABLE;
    for partition in sorted {
        let name = &partition.name;
        let end = partition.first_lba.checked_add(partition.sectors);
        let fits = end.is_some_and(|end| end <= sectors - BACKUP_SECTORS);
        if partition.sectors == 0 || !fits {
            return Err(DiskError::full(format!("partition `{name}` does not fit on the disk")));
        }
        if partition.first_lba < free {
            let why = format!("partition `{name}` lies over another, or over the table");
            return Err(DiskError::full(why));
        }
        if partition.type_guid.is_nil() || name.encode_utf16().count() > NAME_UNITS {
            return Err(DiskError::unsupported(format!("partition `{name}`: its type or name")));
        }
        free = partition.first_lba + partition.sectors;
    }
    Ok(())
}

/// "GPT Partition Entry Array", section 5.3.3.
fn put_entry(entry: &mut [u8], partition: &PartitionSpec) {
    put(entry, 0, &partition.type_guid.to_bytes_le());
    put(entry, 16, &partition.unique_guid.to_bytes_le());
    put(entry, 32, &partition.first_lba.to_le_bytes());
    put(entry, 40, &(partition.first_lba + partition.sectors - 1).to_le_bytes());
    let name: Vec<u8> = partition.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    put(entry, 56, &name);
}

struct Header {
    own: u64,
    other: u64,
    entries_at: u64,
    last: u64,
    disk_guid: Uuid,
}

/// "GPT Header", section 5.3.2.
fn header(fields: &Header, entries: &[u8]) -> [u8; 512] {
    let mut header = [0; 512];
    put(&mut header, 0, SIGNATURE);
    put(&mut header, 8, &0x0001_0000_u32.to_le_bytes());
    put(&mut header, 12, &u32::try_from(HEADER_LEN).unwrap_or(0).to_le_bytes());
    put(&mut header, 24, &fields.own.to_le_bytes());
    put(&mut header, 32, &fields.other.to_le_bytes());
    put(&mut header, 40, &FIRST_USABLE.to_le_bytes());
    put(&mut header, 48, &(fields.last - BACKUP_SECTORS).to_le_bytes());
    put(&mut header, 56, &fields.disk_guid.to_bytes_le());
    put(&mut header, 72, &fields.entries_at.to_le_bytes());
    put(&mut header, 80, &u32::try_from(ENTRIES).unwrap_or(0).to_le_bytes());
    put(&mut header, 84, &u32::try_from(ENTRY_LEN).unwrap_or(0).to_le_bytes());
    put(&mut header, 88, &crc32fast::hash(entries).to_le_bytes());
    header_sum(&mut header);
    debug_assert_eq!(to_u64(entries.len()), ENTRY_SECTORS * SECTOR);
    header
}

/// Gives a header the checksum that it must have.
pub(super) fn header_sum(header: &mut [u8; 512]) {
    let len = to_usize(le32(header, 12).into()).min(header.len());
    header[16..20].fill(0);
    let sum = crc32fast::hash(&header[..len]);
    put(header, 16, &sum.to_le_bytes());
}

/// "Protective MBR", section 5.2.3, from byte 440 on: signature, one partition of type 0xEE.
fn protective_mbr(sectors: u64) -> [u8; 72] {
    let mut mbr = [0; 72];
    put(&mut mbr, 6, &[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF]);
    put(&mut mbr, 14, &1_u32.to_le_bytes());
    put(&mut mbr, 18, &u32::try_from(sectors - 1).unwrap_or(u32::MAX).to_le_bytes());
    put(&mut mbr, 70, &[0x55, 0xAA]);
    mbr
}

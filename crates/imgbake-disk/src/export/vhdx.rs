//! VHDX, dynamic (Microsoft, \[MS-VHDX\]): blocks of 1 MiB, absent where the disk is zero.
//!
//! 1 MiB each: headers and region tables, log, metadata; then the block allocation table (BAT),
//! then the blocks that are there.

use uuid::{Uuid, uuid};

use super::{
    options::ExportOptions,
    progress::{Progress, each_piece},
};
use crate::{
    DiskError, DiskSource, Extent, Result,
    bytes::{put, to_u64, to_usize},
    crc32c::crc32c,
    file::OutFile,
    guid,
    source::blocks,
    zero::{is_zero, zero_runs},
};

const MIB: u64 = 1 << 20;
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const BAT_AT: u64 = 3 * MIB;
const BLOCK: u64 = MIB;
/// Payload blocks for each sector bitmap block, section 2.5: 2^23 sectors over the block's size.
const CHUNK_RATIO: u64 = (1 << 23) * 512 / BLOCK;
/// PAYLOAD_BLOCK_FULLY_PRESENT, section 2.5.1.1.
const PRESENT: u64 = 6;
/// Section 2.6.2.2: 64 TiB.
const MAX: u64 = 64 << 40;

const REGION_BAT: Uuid = uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08");
const REGION_METADATA: Uuid = uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e");
const FILE_PARAMETERS: Uuid = uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
const VIRTUAL_DISK_SIZE: Uuid = uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
const VIRTUAL_DISK_ID: Uuid = uuid!("beca12ab-b2e6-4523-93ef-c309e000c746");
const LOGICAL_SECTOR: Uuid = uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f");
const PHYSICAL_SECTOR: Uuid = uuid!("cda348c7-445d-4471-9cc9-e9885251c556");

pub(super) fn write(
    source: &dyn DiskSource,
    out: &OutFile,
    options: &ExportOptions,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let size = source.virtual_size().max(1).next_multiple_of(512);
    if size > MAX {
        return Err(DiskError::unsupported(format!("a VHDX of {size} bytes: 64 TiB at most")));
    }
    let payload = size.div_ceil(BLOCK);
    let mut bat = vec![0_u64; to_usize(payload + (payload - 1) / CHUNK_RATIO)];
    let bat_len = (u64::try_from(bat.len()).unwrap_or(u64::MAX) * 8).next_multiple_of(MIB);
    let mut end = BAT_AT + bat_len;

    let whole: Vec<Extent> = blocks(&source.extents()?, BLOCK)
        .map(|block| Extent { offset: block * BLOCK, len: BLOCK })
        .collect();
    each_piece(source, &whole, BLOCK, progress, |offset, bytes| {
        if !is_zero(bytes) {
            let block = offset / BLOCK;
            bat[to_usize(block + block / CHUNK_RATIO)] = end | PRESENT;
            for run in zero_runs(bytes) {
                out.write(end + to_u64(run.start), &bytes[run])?;
            }
            end += BLOCK;
        }
        Ok(())
    })?;

    let bat: Vec<u8> = bat.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    out.set_len(end)?;
    out.write(BAT_AT, &bat)?;
    out.write(METADATA_AT, &metadata(size, &options.seed))?;
    let regions = regions(bat_len);
    for (at, bytes) in [(192 << 10, &regions), (256 << 10, &regions)] {
        out.write(at, bytes)?;
    }
    for (at, sequence) in [(64 << 10, 1), (128 << 10, 2)] {
        out.write(at, &header(sequence, &options.seed))?;
    }
    out.write(0, &identifier())
}

/// Section 2.2.1.
fn identifier() -> Vec<u8> {
    let creator = "imgbake".encode_utf16().flat_map(u16::to_le_bytes);
    b"vhdxfile".iter().copied().chain(creator).collect()
}

/// Section 2.2.2.
fn header(sequence: u64, seed: &str) -> Vec<u8> {
    let mut header = vec![0; 4096];
    put(&mut header, 0, b"head");
    put(&mut header, 8, &sequence.to_le_bytes());
    put(&mut header, 16, &guid::derive(seed, "vhdx file write").to_bytes_le());
    put(&mut header, 32, &guid::derive(seed, "vhdx data write").to_bytes_le());
    // The log's identifier stays zero: there is nothing to replay.
    put(&mut header, 66, &1_u16.to_le_bytes());
    put(&mut header, 68, &(1_u32 << 20).to_le_bytes());
    put(&mut header, 72, &LOG_AT.to_le_bytes());
    let sum = crc32c(&header);
    put(&mut header, 4, &sum.to_le_bytes());
    header
}

/// Section 2.2.3.
fn regions(bat_len: u64) -> Vec<u8> {
    let mut table = vec![0; 64 << 10];
    put(&mut table, 0, b"regi");
    put(&mut table, 8, &2_u32.to_le_bytes());
    let entries = [(REGION_BAT, BAT_AT, bat_len), (REGION_METADATA, METADATA_AT, MIB)];
    for (at, (id, offset, len)) in [16, 48].into_iter().zip(entries) {
        put(&mut table, at, &id.to_bytes_le());
        put(&mut table, at + 16, &offset.to_le_bytes());
        put(&mut table, at + 24, &u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        put(&mut table, at + 28, &1_u32.to_le_bytes());
    }
    let sum = crc32c(&table);
    put(&mut table, 4, &sum.to_le_bytes());
    table
}

/// Section 2.6: the table, and its items 64 KiB later.
fn metadata(size: u64, seed: &str) -> Vec<u8> {
    const ITEMS_AT: usize = 64 << 10;
    const REQUIRED: u32 = 1 << 2;
    const VIRTUAL_DISK: u32 = 1 << 1;
    let block_size = u32::try_from(BLOCK).unwrap_or(u32::MAX).to_le_bytes();
    let items: [(Uuid, u32, Vec<u8>); 5] = [
        (FILE_PARAMETERS, REQUIRED, [block_size, [0; 4]].concat()),
        (VIRTUAL_DISK_SIZE, REQUIRED | VIRTUAL_DISK, size.to_le_bytes().to_vec()),
        (
            VIRTUAL_DISK_ID,
            REQUIRED | VIRTUAL_DISK,
            guid::derive(seed, "vhdx disk").to_bytes_le().to_vec(),
        ),
        (LOGICAL_SECTOR, REQUIRED | VIRTUAL_DISK, 512_u32.to_le_bytes().to_vec()),
        (PHYSICAL_SECTOR, REQUIRED | VIRTUAL_DISK, 4096_u32.to_le_bytes().to_vec()),
    ];
    let mut table = vec![0; ITEMS_AT + 64];
    put(&mut table, 0, b"metadata");
    put(&mut table, 10, &5_u16.to_le_bytes());
    let mut item_at = ITEMS_AT;
    for (index, (id, flags, value)) in items.iter().enumerate() {
        let at = 32 + 32 * index;
        put(&mut table, at, &id.to_bytes_le());
        put(&mut table, at + 16, &u32::try_from(item_at).unwrap_or(0).to_le_bytes());
        put(&mut table, at + 20, &u32::try_from(value.len()).unwrap_or(0).to_le_bytes());
        put(&mut table, at + 24, &flags.to_le_bytes());
        put(&mut table, item_at, value);
        item_at += value.len();
    }
    table
}

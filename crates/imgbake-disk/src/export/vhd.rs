//! VHD, fixed (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0): the raw disk and a
//! footer of one sector.

use super::{options::ExportOptions, progress::Progress, raw};
use crate::{DiskError, DiskSource, Result, bytes::put, file::OutFile, guid};

/// Azure takes whole MiB only.
const ROUND: u64 = 1 << 20;
/// What the format holds at most: 2040 GiB.
const MAX: u64 = 2040 << 30;

pub(super) fn write(
    source: &dyn DiskSource,
    out: &OutFile,
    options: &ExportOptions,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let size = source.virtual_size().max(1).next_multiple_of(ROUND);
    if size > MAX {
        return Err(DiskError::unsupported(format!("a VHD of {size} bytes: 2040 GiB at most")));
    }
    raw::write(source, out, size, progress)?;
    out.write(size, &footer(size, &options.seed))
}

/// "Hard Disk Footer Format".
fn footer(size: u64, seed: &str) -> [u8; 512] {
    let mut footer = [0; 512];
    put(&mut footer, 0, b"conectix");
    put(&mut footer, 8, &2_u32.to_be_bytes());
    put(&mut footer, 12, &0x0001_0000_u32.to_be_bytes());
    put(&mut footer, 16, &u64::MAX.to_be_bytes());
    // The time stays zero (2000-01-01). The creator is one of those whose size readers take from
    // the field below and not from the geometry, which cannot say every size.
    put(&mut footer, 28, b"win ");
    put(&mut footer, 32, &0x000A_0000_u32.to_be_bytes());
    put(&mut footer, 36, b"Wi2k");
    put(&mut footer, 40, &size.to_be_bytes());
    put(&mut footer, 48, &size.to_be_bytes());
    put(&mut footer, 56, &geometry(size / 512));
    put(&mut footer, 60, &2_u32.to_be_bytes());
    put(&mut footer, 68, guid::derive(seed, "vhd").as_bytes());
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut footer, 64, &(!sum).to_be_bytes());
    footer
}

/// "Appendix: CHS Calculation": cylinders (two bytes), heads, sectors per track.
fn geometry(sectors: u64) -> [u8; 4] {
    let sectors = sectors.min(65535 * 16 * 255);
    let (heads, per_track) = if sectors >= 65535 * 16 * 63 {
        (16, 255)
    } else {
        let tracks = sectors / 17;
        let heads = tracks.div_ceil(1024).max(4);
        if tracks < heads * 1024 && heads <= 16 {
            (heads, 17)
        } else if sectors / 31 < 16 * 1024 {
            (16, 31)
        } else {
            (16, 63)
        }
    };
    let cylinders = u16::try_from(sectors / per_track / heads).unwrap_or(u16::MAX).to_be_bytes();
    let byte = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
    [cylinders[0], cylinders[1], byte(heads), byte(per_track)]
}

//! The numbers of a chunk table's rows.

/// Writes a number in groups of seven bits, the lowest first, each but the last with its top bit set.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a number in its shortest form; `None` for any other.
pub(super) fn take_number(rows: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = rows.split_first()?;
        *rows = rest;
        let group = u64::from(byte & 0x7F);
        if group << shift >> shift != group || (*byte == 0 && shift > 0) {
            return None;
        }
        value |= group << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// `value - from` with the sign in the lowest bit.
pub(super) fn zigzag(value: u32, from: u32) -> u64 {
    let distance = u64::from(value.abs_diff(from));
    if value >= from { distance << 1 } else { (distance << 1) - 1 }
}

pub(super) fn unzigzag(code: u64, from: u32) -> Option<u32> {
    let distance = u32::try_from(code.div_ceil(2)).ok()?;
    if code.is_multiple_of(2) { from.checked_add(distance) } else { from.checked_sub(distance) }
}

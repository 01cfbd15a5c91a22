//! Reading a segment that is not trusted.

use std::io::{BufRead, ErrorKind, Read};

use zstd::stream::read::Decoder;

use super::{ALIGN, HEADER, MAX_RECORD, WINDOW_LOG, encode::SegmentStats};
use crate::{
    DiskError, Result,
    bytes::{le64, to_u64, to_usize},
};

/// What `take` gets at once at most.
const PART: usize = 1 << 20;

/// Reads a segment of a disk of `virtual_size` bytes and hands its records to `take` in order, in
/// parts of at most 1 MiB. Every record is aligned, in bounds and after the one before, so that
/// the parts together never exceed the disk; anything else, or a byte after the frame, is an
/// error. Parts that were handed over before the error stay handed over.
pub fn decode(
    reader: impl BufRead,
    virtual_size: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<SegmentStats> {
    let fail = |e| DiskError::io("cannot start reading a segment", e);
    let mut zstd = Decoder::with_buffer(reader).map_err(fail)?.single_frame();
    zstd.window_log_max(WINDOW_LOG).map_err(fail)?;
    let mut stats = SegmentStats::default();
    let mut end = 0;
    let mut buffer = vec![0; PART];
    while let Some(header) = read_header(&mut zstd, end)? {
        let (offset, len) = (le64(&header, 0), le64(&header, 8));
        end = check(offset, len, end, virtual_size)?;
        let mut at = offset;
        while at < end {
            let part = &mut buffer[..to_usize(end - at).min(PART)];
            zstd.read_exact(part).map_err(|e| broken(e, at))?;
            take(at, part)?;
            at += to_u64(part.len());
        }
        stats.records += 1;
        stats.data_bytes += len;
    }
    let mut rest = zstd.finish();
    let rest = rest.fill_buf().map_err(|e| DiskError::io("reading past a segment", e))?;
    if !rest.is_empty() {
        return Err(DiskError::corrupt("bytes after the segment's end"));
    }
    Ok(stats)
}

fn check(offset: u64, len: u64, before: u64, virtual_size: u64) -> Result<u64> {
    let bad = |why: &str| Err(DiskError::corrupt(format!("a record {why}")).at(offset));
    if !offset.is_multiple_of(ALIGN) || !len.is_multiple_of(ALIGN) {
        return bad("is not aligned");
    }
    if len == 0 || len > MAX_RECORD {
        return bad("is empty or too long");
    }
    if offset < before {
        return bad("starts before the end of the one before");
    }
    match offset.checked_add(len) {
        Some(end) if end <= virtual_size => Ok(end),
        _ => bad("lies past the disk's end"),
    }
}

/// The next record's header; `None` where the frame ends.
fn read_header(zstd: &mut impl Read, at: u64) -> Result<Option<[u8; HEADER]>> {
    let mut header = [0; HEADER];
    let mut have = 0;
    while have < HEADER {
        match zstd.read(&mut header[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(DiskError::truncated("a record's header is cut short").at(at)),
            Ok(count) => have += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(broken(e, at)),
        }
    }
    Ok(Some(header))
}

/// zstd says "other" of bytes that are not zstd.
fn broken(error: std::io::Error, at: u64) -> DiskError {
    if error.kind() == ErrorKind::Other {
        return DiskError::corrupt(format!("the segment is not sound zstd: {error}")).at(at);
    }
    DiskError::io("reading a segment", error).at(at)
}

//! Which packs of older versions a new one refers to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use imgbake_disk::DiskSource;
use imgbake_disk::chunk::{Frame, PackRef, digest};
use imgbake_runtime::Cancel;

use super::known_chunks::{Row, index};
use super::pipeline::{Content, Packer};
use crate::BuildError;
use crate::error::disk_error;

/// A pack is referred to where at least this share of it is used: one part in so many.
const SHARE: u64 = 4;
/// The most packs of others that a version refers to, so that its manifest stays far below what
/// registries take: 4 MiB, at some 170 bytes a pack.
const MOST: usize = 4096;

/// Stores the chunks anew that are alone, or nearly, in packs of others; gives the bytes read.
pub(super) fn store_anew(
    disk: &dyn DiskSource,
    rows: &mut [Row],
    packer: &mut Packer<'_>,
    cancel: &Cancel,
    stop: &AtomicBool,
) -> Result<u64, BuildError> {
    let known = packer.known().packs();
    let refused = refused(known, rows);
    if refused.iter().all(|refused| !refused) {
        return Ok(0);
    }
    let is_refused = |row: &Row| refused.get(index(row.frame.pack)).copied().unwrap_or(false);
    let places: Vec<usize> = (0..rows.len()).filter(|at| is_refused(&rows[*at])).collect();
    let old = &*rows;
    let read = packer.run_unknown(stop, |feed| {
        let mut read = 0;
        for row in places.iter().map(|at| &old[*at]) {
            if stop.load(Ordering::Relaxed) || cancel.is_cancelled() {
                break;
            }
            let mut bytes = vec![0; index(row.len)];
            disk.read_at(row.offset, &mut bytes).map_err(disk_error)?;
            if digest(&bytes) != row.digest {
                let words = format!("the disk is not what it was: byte {} changed", row.offset);
                return Err(BuildError::failed(words));
            }
            read += u64::from(row.len);
            if !feed.chunk(row.offset, Content::Apart(bytes)) {
                break;
            }
        }
        Ok(read)
    })?;
    cancel.check()?;
    for (at, row) in places.into_iter().zip(packer.take_rows()) {
        rows[at] = row;
    }
    Ok(read)
}

/// Which of the known packs are not referred to.
fn refused(known: &[PackRef], rows: &[Row]) -> Vec<bool> {
    let mut frames: Vec<Frame> =
        rows.iter().map(|row| row.frame).filter(|frame| index(frame.pack) < known.len()).collect();
    // A frame that several chunks use takes its room once.
    frames.sort_unstable_by_key(|frame| (frame.pack, frame.offset));
    frames.dedup();
    let mut used: BTreeMap<u32, u64> = BTreeMap::new();
    for frame in frames {
        *used.entry(frame.pack).or_default() += u64::from(frame.len);
    }
    let mut refused = vec![false; known.len()];
    let mut referred: Vec<(u64, usize)> = Vec::new();
    for (pack, used) in used {
        let pack = index(pack);
        if used.saturating_mul(SHARE) < known[pack].size {
            refused[pack] = true;
        } else {
            referred.push((used, pack));
        }
    }
    // Those of which least is used go first.
    referred.sort_unstable_by(|a, b| b.cmp(a));
    for (_, pack) in referred.drain(MOST.min(referred.len())..) {
        refused[pack] = true;
    }
    refused
}

#[cfg(test)]
mod tests {
    use imgbake_disk::chunk::ChunkDigest;

    use super::*;

    fn row(pack: u32, offset: u32, len: u32) -> Row {
        let digest = ChunkDigest([0; 32]);
        Row { offset: 0, len: 1, digest, frame: Frame { pack, offset, len } }
    }

    #[test]
    fn packs_of_little_use_are_refused() {
        let pack = |size| PackRef { sha256: [0; 32], size };
        let known = [pack(400), pack(400), pack(400), pack(400)];
        let rows = [
            row(0, 0, 60),
            row(0, 60, 40),
            // The same frame twice is no more use.
            row(1, 0, 90),
            row(1, 0, 90),
            row(3, 0, 400),
            // A new one.
            row(4, 0, 1),
        ];
        assert_eq!(refused(&known, &rows), [false, true, false, false]);
        let many: Vec<PackRef> = (0..5000).map(|_| pack(4)).collect();
        let rows: Vec<Row> = (0..5000).map(|n| row(n, 0, 1 + n % 4)).collect();
        let refused = refused(&many, &rows);
        assert_eq!(refused.iter().filter(|refused| **refused).count(), 5000 - MOST);
        assert!(refused.iter().zip(&rows).all(|(refused, row)| !refused || row.frame.len == 1));
    }
}

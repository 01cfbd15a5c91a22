//! A disk that differs from a stored one in some places only.

use std::sync::Arc;

use imgbake_disk::chunk::{ChunkTable, Delta, digest};
use imgbake_disk::{DiskSource, Extent};

use super::known_chunks::{KnownChunks, Row, index};
use crate::BuildError;
use crate::error::disk_error;

/// Kept chunks that are read nevertheless, to see that the disk is based on what it is said to.
const SAMPLES: usize = 16;

/// A disk that is stored already, and where alone another one differs from it. For overlays on one
/// file: what all of them hold, down to that file; for two disks that are based on the same layers, what
/// either holds above these.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The stored disk's table.
    pub table: Arc<ChunkTable>,
    /// The ranges that may differ, in any order. Where one disk is longer, what no range names is zero.
    pub extents: Vec<Extent>,
}

/// The stored disk, and what of this one it has.
pub(super) struct Base {
    delta: Delta,
    changed: Changed,
    /// The numbers of the table's packs among those known.
    packs: Vec<u32>,
}

/// Compares a few chunks that shall be the same: `None` where one is not, so that the whole disk must
/// be read.
pub(super) fn check(
    disk: &dyn DiskSource,
    changed: Changed,
    known: &mut KnownChunks,
) -> Result<Option<Base>, BuildError> {
    let delta = Delta::new(&changed.table, &changed.extents, disk.virtual_size());
    let kept: Vec<usize> = delta.kept().collect();
    let mut bytes = Vec::new();
    for number in kept.iter().step_by(kept.len().div_ceil(SAMPLES).max(1)) {
        let chunk = &changed.table.chunks()[*number];
        bytes.resize(index(chunk.len), 0);
        disk.read_at(chunk.offset, &mut bytes).map_err(disk_error)?;
        if digest(&bytes) != chunk.digest {
            return Ok(None);
        }
    }
    let packs = changed.table.packs().iter().map(|pack| known.number(pack)).collect();
    Ok(Some(Base { delta, changed, packs }))
}

impl Base {
    /// What is read.
    pub(super) fn windows(&self) -> &[Extent] {
        self.delta.windows()
    }

    /// The rows that are the stored disk's.
    pub(super) fn kept(&self) -> impl Iterator<Item = Row> + '_ {
        self.delta.kept().map(|number| {
            let mut row = self.changed.table.chunks()[number];
            row.frame.pack = self.packs[index(row.frame.pack)];
            row
        })
    }
}

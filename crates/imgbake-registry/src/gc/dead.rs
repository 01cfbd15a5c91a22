//! Bytes of packs that no version's disk uses any more.
//!
//! A pack stays as long as one version lists it, and with it the chunks of versions that are gone.

use std::collections::{HashMap, HashSet};

use imgbake_disk::chunk::{ChunkTable, MAX_TABLE};
use imgbake_types::Digest;
use imgbake_types::record::VersionView;

use super::costs::VersionCost;
use crate::Result;
use crate::files::damaged;
use crate::oci::{Descriptor, TABLE};
use crate::reachable::Reachable;
use crate::store::Store;

/// Says of each version that stays how many bytes of its packs are dead; gives those of all packs.
/// `None`, and nothing said, where a chunk table cannot be read.
pub(super) fn measure(
    store: &Store,
    reached: &Reachable,
    versions: &[VersionView],
    costs: &mut [VersionCost],
) -> Option<u64> {
    let mut packs = Packs::default();
    let stay: HashSet<&Digest> =
        costs.iter().filter(|cost| cost.kept).map(|cost| &cost.digest).collect();
    for version in versions.iter().filter(|version| stay.contains(&version.digest)) {
        if let Err(error) = packs.add(store, reached, version) {
            tracing::warn!(%error, "it is not known how many bytes of packs are dead");
            return None;
        }
    }
    let dead: HashMap<[u8; 32], u64> = packs
        .used
        .iter()
        .map(|(sha256, (size, used))| (*sha256, size.saturating_sub(used.bytes())))
        .collect();
    for (cost, version) in costs.iter_mut().zip(versions).filter(|(cost, _)| cost.kept) {
        let packs = packs.of_table.get(&version.disk.table);
        cost.dead_bytes = packs.map(|packs| packs.iter().filter_map(|pack| dead.get(pack)).sum());
    }
    Some(dead.values().sum())
}

/// Packs and what of them is used.
#[derive(Default)]
struct Packs {
    /// Each pack's size, and its bytes that are used.
    used: HashMap<[u8; 32], (u64, Ranges)>,
    /// The packs that each chunk table names.
    of_table: HashMap<Digest, Vec<[u8; 32]>>,
}

impl Packs {
    /// Adds what a version uses. Many versions may have one table: it is read once.
    fn add(&mut self, store: &Store, reached: &Reachable, version: &VersionView) -> Result<()> {
        let digest = &version.disk.table;
        if self.of_table.contains_key(digest) {
            return Ok(());
        }
        let label = format!("{}:{}", version.name, version.version);
        let size = *reached.get(digest).ok_or_else(|| {
            damaged(format!("{label} has another chunk table than its config says"))
        })?;
        let blob = Descriptor::new(TABLE, digest.clone(), size);
        let bytes = store.blobs.read_bounded(&blob, MAX_TABLE, &label)?;
        let table = ChunkTable::decode(&bytes).map_err(|error| {
            damaged(format!("the chunk table {digest} of {label} cannot be")).because(error)
        })?;
        let mut ranges: Vec<Vec<(u64, u64)>> = vec![Vec::new(); table.packs().len()];
        for frame in table.chunks().iter().map(|chunk| chunk.frame) {
            let number = usize::try_from(frame.pack).unwrap_or(usize::MAX);
            ranges[number].push((u64::from(frame.offset), frame.end()));
        }
        for (pack, ranges) in table.packs().iter().zip(ranges) {
            let (_, used) =
                self.used.entry(pack.sha256).or_insert_with(|| (pack.size, Ranges::default()));
            used.add(ranges);
        }
        let packs = table.packs().iter().map(|pack| pack.sha256).collect();
        self.of_table.insert(digest.clone(), packs);
        Ok(())
    }
}

/// Ranges of bytes, in order and apart: first byte, and first byte after.
#[derive(Debug, Default)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    fn add(&mut self, ranges: Vec<(u64, u64)>) {
        self.0.extend(ranges);
        self.0.sort_unstable();
        self.0.dedup_by(|next, last| {
            let touch = next.0 <= last.1;
            if touch {
                last.1 = last.1.max(next.1);
            }
            touch
        });
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let mut ranges = Ranges::default();
        ranges.add(vec![(10, 20), (0, 5), (30, 40), (5, 8)]);
        assert_eq!(ranges.0, [(0, 8), (10, 20), (30, 40)]);
        ranges.add(vec![(8, 10), (15, 18), (35, 50)]);
        assert_eq!((ranges.bytes(), ranges.0), (40, vec![(0, 20), (30, 50)]));
    }
}

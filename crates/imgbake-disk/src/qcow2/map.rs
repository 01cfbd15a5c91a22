//! From virtual ranges to where their bytes are ("L1 table entry", "L2 table entry").

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use super::Header;
use crate::{
    DiskError, Result,
    bytes::{be64, to_usize},
    file::HostFile,
};

const OFFSET_MASK: u64 = 0x00FF_FFFF_FFFF_FE00;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Memory for L2 tables that stay at hand, for each image of a chain.
const CACHE_BYTES: u64 = 16 << 20;

/// Where a range's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// In the backing file, at the same virtual offset; zeros where there is none.
    Backing,
    /// Nowhere: zeros.
    Zero,
    /// In the host file, uncompressed, from this offset on.
    Data(u64),
    /// One compressed cluster in the host file.
    Compressed { offset: u64, len: u64 },
}

type Table = Arc<[u64]>;

/// The L1 table, and the L2 tables that were used last.
#[derive(Debug)]
pub(super) struct Tables {
    l1: Vec<u64>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    tables: HashMap<usize, Table>,
    order: VecDeque<usize>,
}

impl Tables {
    pub(super) fn load(file: &HostFile, header: &Header) -> Result<Self> {
        let end = header.l1_offset.checked_add(header.l1_bytes());
        if end.is_none_or(|end| end > file.len) {
            let why = "the L1 table lies past the file's end";
            return Err(DiskError::truncated(why).in_file(&file.path).at(header.l1_offset));
        }
        let mut bytes = vec![0; to_usize(header.l1_bytes())];
        file.read(header.l1_offset, &mut bytes, "reading the L1 table")?;
        let l1: Vec<_> = bytes.chunks_exact(8).map(|entry| be64(entry, 0) & OFFSET_MASK).collect();
        // No two L1 entries share a table, so a lying L1 cannot make us walk more than the file.
        let used = l1.iter().filter(|offset| **offset != 0).count();
        if u64::try_from(used).is_ok_and(|used| used > file.len / header.cluster_size()) {
            let why = "the L1 table names more L2 tables than the file has clusters";
            return Err(DiskError::corrupt(why).in_file(&file.path).at(header.l1_offset));
        }
        Ok(Self { l1, cache: Mutex::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.l1.len()
    }

    /// The L2 table that L1 entry `index` names; `None` where it names none.
    pub(super) fn l2(
        &self,
        file: &HostFile,
        header: &Header,
        index: usize,
    ) -> Result<Option<Table>> {
        let Some(offset) = self.l1.get(index).copied().filter(|offset| *offset != 0) else {
            return Ok(None);
        };
        let cached = self.lock().tables.get(&index).cloned();
        if cached.is_some() {
            return Ok(cached);
        }
        if offset % header.cluster_size() != 0 {
            let why = format!("L1 entry {index} is not at a cluster's start");
            return Err(DiskError::corrupt(why).in_file(&file.path).at(offset));
        }
        let mut bytes = vec![0; to_usize(header.cluster_size())];
        file.read(offset, &mut bytes, "reading an L2 table")?;
        let table: Table = bytes.chunks_exact(8).map(|entry| be64(entry, 0)).collect();
        let mut cache = self.lock();
        if cache.tables.insert(index, Arc::clone(&table)).is_none() {
            cache.order.push_back(index);
        }
        let keep = to_usize((CACHE_BYTES / header.cluster_size()).max(4));
        while cache.order.len() > keep {
            if let Some(old) = cache.order.pop_front() {
                cache.tables.remove(&old);
            }
        }
        Ok(Some(table))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the L2 entry `entry` says of its cluster.
pub(super) fn place(header: &Header, entry: u64) -> Result<Mapping> {
    if entry & COMPRESSED != 0 {
        let x = 62 - (header.cluster_bits - 8);
        let offset = entry & ((1 << x) - 1);
        let sectors = (entry & (COMPRESSED - 1)) >> x;
        return Ok(Mapping::Compressed { offset, len: (sectors + 1) * 512 - offset % 512 });
    }
    if header.version >= 3 && entry & ZERO != 0 {
        return Ok(Mapping::Zero);
    }
    match entry & OFFSET_MASK {
        0 => Ok(Mapping::Backing),
        offset if offset % header.cluster_size() != 0 => {
            Err(DiskError::corrupt("an L2 entry is not at a cluster's start").at(offset))
        }
        offset => Ok(Mapping::Data(offset)),
    }
}

/// Where the bytes from `index` of `table` are, and for how many clusters (at most `max`) the
/// same holds: neighbours in the host file are one run.
pub(super) fn run(
    header: &Header,
    table: &[u64],
    index: usize,
    max: usize,
) -> Result<(Mapping, usize)> {
    let first = place(header, table[index])?;
    let mut count = 1;
    let mut next = first;
    while count < max && index + count < table.len() {
        next = match next {
            Mapping::Data(offset) => Mapping::Data(offset + header.cluster_size()),
            Mapping::Compressed { .. } => break,
            same => same,
        };
        if place(header, table[index + count])? != next {
            break;
        }
        count += 1;
    }
    Ok((first, count))
}

//! qcow2 version 3 with zstd-compressed clusters (QEMU's docs/interop/qcow2.rst).
//!
//! Compressed clusters are packed byte after byte; tables follow the data they map, and the
//! refcounts, counted while writing, come last.

use super::{options::ExportOptions, pipeline, progress::Progress};
use crate::{
    DiskError, DiskSource, Result,
    bytes::{put, to_u64, to_usize},
    file::OutFile,
    qcow2::{HeaderFields, MAX_L1_BYTES},
};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const L2_ENTRIES: u64 = CLUSTER / 8;
const REFCOUNTS_PER_BLOCK: u64 = CLUSTER / 2;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Where the sector count starts in a compressed cluster's descriptor.
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);

enum Cluster {
    Packed(Vec<u8>),
    Plain(Vec<u8>),
}

pub(super) fn write(
    source: &dyn DiskSource,
    out: &OutFile,
    options: &ExportOptions,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let mut image = Image::new(out, source.virtual_size())?;
    let encoder = || {
        let fail = |e| DiskError::io("cannot compress", e);
        let mut zstd = zstd::bulk::Compressor::new(options.zstd_level).map_err(fail)?;
        Ok(move |bytes: &[u8]| {
            let packed = zstd.compress(bytes).map_err(fail)?;
            let smaller = packed.len() < bytes.len();
            Ok(if smaller { Cluster::Packed(packed) } else { Cluster::Plain(bytes.to_vec()) })
        })
    };
    pipeline::run(source, CLUSTER, options.threads, progress, encoder, |index, cluster| {
        image.add(index, &cluster)
    })?;
    image.finish()
}

struct Image<'a> {
    out: &'a OutFile,
    size: u64,
    l1: Vec<u64>,
    l1_offset: u64,
    /// The L2 table being filled, and its number.
    l2: Vec<u8>,
    l2_index: Option<u64>,
    /// Where the next byte goes.
    end: u64,
    refcounts: Vec<u16>,
}

impl<'a> Image<'a> {
    fn new(out: &'a OutFile, size: u64) -> Result<Self> {
        let size = size.next_multiple_of(512);
        let entries = size.div_ceil(CLUSTER * L2_ENTRIES);
        if entries * 8 > MAX_L1_BYTES {
            return Err(DiskError::unsupported(format!("a qcow2 of {size} bytes")));
        }
        let mut image = Self {
            out,
            size,
            l1: vec![0; to_usize(entries)],
            l1_offset: CLUSTER,
            l2: vec![0; to_usize(CLUSTER)],
            l2_index: None,
            end: 0,
            refcounts: Vec::new(),
        };
        let head = CLUSTER + (entries * 8).next_multiple_of(CLUSTER).max(CLUSTER);
        image.count(0, head);
        image.end = head;
        Ok(image)
    }

    /// Adds one reference to every host cluster that the range touches.
    fn count(&mut self, offset: u64, len: u64) {
        let (first, last) = (to_usize(offset / CLUSTER), to_usize((offset + len - 1) / CLUSTER));
        if self.refcounts.len() <= last {
            self.refcounts.resize(last + 1, 0);
        }
        self.refcounts[first..=last].iter_mut().for_each(|count| *count += 1);
    }

    /// Writes a whole cluster's worth at the next cluster's start.
    fn append_aligned(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.end.next_multiple_of(CLUSTER);
        self.out.write(at, bytes)?;
        self.end = at + to_u64(bytes.len());
        Ok(at)
    }

    fn add(&mut self, index: u64, cluster: &Cluster) -> Result<()> {
        let table = index / L2_ENTRIES;
        if self.l2_index != Some(table) {
            self.flush_l2()?;
            self.l2_index = Some(table);
        }
        let entry = match cluster {
            Cluster::Plain(bytes) => {
                let at = self.append_aligned(bytes)?;
                self.count(at, CLUSTER);
                at | COPIED
            }
            Cluster::Packed(bytes) => {
                let (at, len) = (self.end, to_u64(bytes.len()));
                self.out.write(at, bytes)?;
                self.end = at + len;
                let sectors = (at + len - 1) / 512 - at / 512;
                self.count(at, (sectors + 1) * 512 - at % 512);
                COMPRESSED | (sectors << SECTORS_SHIFT) | at
            }
        };
        put(&mut self.l2, to_usize(index % L2_ENTRIES) * 8, &entry.to_be_bytes());
        Ok(())
    }

    fn flush_l2(&mut self) -> Result<()> {
        let Some(index) = self.l2_index.take() else { return Ok(()) };
        let table = std::mem::replace(&mut self.l2, vec![0; to_usize(CLUSTER)]);
        let at = self.append_aligned(&table)?;
        self.count(at, CLUSTER);
        self.l1[to_usize(index)] = at | COPIED;
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.flush_l2()?;
        let start = self.end.next_multiple_of(CLUSTER);
        let used = start / CLUSTER;
        // The refcounts count themselves, too.
        let (mut blocks, mut tables) = (1, 1);
        while blocks * REFCOUNTS_PER_BLOCK < used + blocks + tables || tables * L2_ENTRIES < blocks
        {
            blocks = (used + blocks + tables).div_ceil(REFCOUNTS_PER_BLOCK);
            tables = blocks.div_ceil(L2_ENTRIES);
        }
        self.count(start, (blocks + tables) * CLUSTER);
        let table: Vec<u8> = (0..blocks)
            .flat_map(|block| (start + (tables + block) * CLUSTER).to_be_bytes())
            .collect();
        self.out.write(start, &table)?;
        let counts: Vec<u8> = self.refcounts.iter().flat_map(|count| count.to_be_bytes()).collect();
        self.out.write(start + tables * CLUSTER, &counts)?;
        self.out.set_len(start + (tables + blocks) * CLUSTER)?;
        let l1: Vec<u8> = self.l1.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        self.out.write(self.l1_offset, &l1)?;
        let mut header = vec![0; 512];
        HeaderFields {
            cluster_bits: CLUSTER_BITS,
            size: self.size,
            l1_entries: to_u64(self.l1.len()),
            l1_offset: self.l1_offset,
            refcount_offset: start,
            refcount_clusters: u32::try_from(tables).unwrap_or(u32::MAX),
            zstd: true,
        }
        .write(&mut header);
        self.out.write(0, &header)
    }
}

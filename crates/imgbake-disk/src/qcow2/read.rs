//! Reading a qcow2 image: whole runs at once, compressed clusters one by one.

use std::{
    io::{self, Read as _},
    sync::{Arc, Mutex, PoisonError},
};

use flate2::read::DeflateDecoder;

use super::{
    Header,
    header::Compression,
    map::{Place, Tables, run},
};
use crate::{
    DiskError, DiskImage, DiskSource as _, Extent, Result,
    bytes::{to_u64, to_usize},
    file::HostFile,
    source::ExtentList,
};

/// No cluster is larger than 2 MiB, so no honest window is larger than 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A qcow2 image and what lies below it.
#[derive(Debug)]
pub(crate) struct Qcow2 {
    file: HostFile,
    header: Header,
    tables: Tables,
    pub(crate) backing: Option<Box<DiskImage>>,
    /// The compressed cluster that was read last: small reads come in rows.
    last: Mutex<Option<(u64, Arc<[u8]>)>>,
}

impl Qcow2 {
    pub(crate) fn load(
        file: HostFile,
        header: Header,
        backing: Option<Box<DiskImage>>,
    ) -> Result<Self> {
        let tables = Tables::load(&file, &header)?;
        Ok(Self { file, header, tables, backing, last: Mutex::default() })
    }

    pub(crate) fn virtual_size(&self) -> u64 {
        self.header.size
    }

    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let there = to_usize(self.header.size.saturating_sub(offset).min(to_u64(buf.len())));
        let (mut left, past) = buf.split_at_mut(there);
        past.fill(0);
        let mut at = offset;
        while !left.is_empty() {
            let (place, len) = self.locate(at, to_u64(left.len()))?;
            let (now, later) = left.split_at_mut(to_usize(len));
            self.fill(place, at, now)?;
            at += len;
            left = later;
        }
        Ok(())
    }

    /// The place of the bytes at `at`, and how many of the next `max` bytes it holds for.
    fn locate(&self, at: u64, max: u64) -> Result<(Place, u64)> {
        let cluster = self.header.cluster_size();
        let span = self.header.l2_span();
        let table = self.tables.l2(&self.file, &self.header, to_usize(at / span))?;
        let Some(table) = table else {
            return Ok((Place::Backing, max.min(span - at % span)));
        };
        let index = to_usize(at % span / cluster);
        let inside = at % cluster;
        let wanted = to_usize((inside + max).div_ceil(cluster));
        let (place, count) = run(&self.header, &table, index, wanted).map_err(|e| self.name(e))?;
        let place = match place {
            Place::Data(host) => Place::Data(host + inside),
            other => other,
        };
        Ok((place, max.min(to_u64(count) * cluster - inside)))
    }

    fn fill(&self, place: Place, at: u64, buf: &mut [u8]) -> Result<()> {
        match (place, &self.backing) {
            (Place::Backing, Some(backing)) => backing.read_at(at, buf),
            (Place::Backing, None) | (Place::Zero, _) => {
                buf.fill(0);
                Ok(())
            }
            (Place::Data(host), _) => {
                // A file may end inside its last cluster, but not before it.
                let cluster = self.header.cluster_size();
                let end = host + to_u64(buf.len());
                if (end - 1) / cluster * cluster >= self.file.len {
                    let why = "a cluster lies past the file's end";
                    return Err(self.name(DiskError::truncated(why).at(host)));
                }
                self.file.read_padded(host, buf, "reading clusters")
            }
            (Place::Compressed { offset, len }, _) => {
                let cluster = self.decompressed(offset, len)?;
                let inside = to_usize(at % self.header.cluster_size());
                buf.copy_from_slice(&cluster[inside..inside + buf.len()]);
                Ok(())
            }
        }
    }

    fn decompressed(&self, offset: u64, len: u64) -> Result<Arc<[u8]>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, cluster)) = last.filter(|(at, _)| *at == offset) {
            return Ok(cluster);
        }
        if offset >= self.file.len {
            let why = "a compressed cluster lies past the file's end";
            return Err(self.name(DiskError::truncated(why).at(offset)));
        }
        let mut packed = vec![0; to_usize(len.min(self.file.len - offset))];
        self.file.read(offset, &mut packed, "reading a compressed cluster")?;
        let mut cluster = vec![0; to_usize(self.header.cluster_size())];
        unpack(self.header.compression, &packed, &mut cluster).map_err(|e| {
            self.name(DiskError::corrupt(format!("a compressed cluster: {e}")).at(offset))
        })?;
        let cluster: Arc<[u8]> = cluster.into();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((offset, Arc::clone(&cluster)));
        Ok(cluster)
    }

    pub(crate) fn extents(&self) -> Result<Vec<Extent>> {
        let below = self.backing.as_ref().map(|b| b.extents()).transpose()?.unwrap_or_default();
        let mut below = Below { extents: &below, next: 0 };
        let mut list = ExtentList::new(self.header.size);
        self.walk(|place, start, len| match place {
            Place::Zero => {}
            Place::Backing => below.push(&mut list, start, len),
            Place::Data(_) | Place::Compressed { .. } => list.push(start, len),
        })?;
        Ok(list.finish())
    }

    /// The ranges that this image's own clusters cover, those that are told to be zero among them.
    pub(crate) fn held(&self) -> Result<Vec<Extent>> {
        let mut list = ExtentList::new(self.header.size);
        self.walk(|place, start, len| match place {
            Place::Backing => {}
            Place::Zero | Place::Data(_) | Place::Compressed { .. } => list.push(start, len),
        })?;
        Ok(list.finish())
    }

    /// Tells of every range of the disk, from its start to its end, where its bytes are.
    fn walk(&self, mut tell: impl FnMut(Place, u64, u64)) -> Result<()> {
        let (cluster, span) = (self.header.cluster_size(), self.header.l2_span());
        for index in 0..self.tables.len() {
            let base = to_u64(index) * span;
            let Some(table) = self.tables.l2(&self.file, &self.header, index)? else {
                tell(Place::Backing, base, span);
                continue;
            };
            let mut slot = 0;
            while slot < table.len() {
                let start = base + to_u64(slot) * cluster;
                if start >= self.header.size {
                    break;
                }
                let (place, count) =
                    run(&self.header, &table, slot, table.len()).map_err(|e| self.name(e))?;
                tell(place, start, to_u64(count) * cluster);
                slot += count;
            }
        }
        Ok(())
    }

    fn name(&self, error: DiskError) -> DiskError {
        error.in_file(&self.file.path)
    }
}

/// The backing file's extents, walked once from front to back.
struct Below<'a> {
    extents: &'a [Extent],
    next: usize,
}

impl Below<'_> {
    /// Adds to `list` what of the range the backing file may hold.
    fn push(&mut self, list: &mut ExtentList, start: u64, len: u64) {
        let end = start.saturating_add(len);
        while let Some(extent) = self.extents.get(self.next) {
            let (from, to) = (extent.offset.max(start), extent.end().min(end));
            list.push(from, to.saturating_sub(from));
            if extent.end() > end {
                break;
            }
            self.next += 1;
        }
    }
}

/// Unpacks one cluster; what follows its end in `packed` is another's, or padding.
fn unpack(compression: Compression, packed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
    match compression {
        Compression::Deflate => DeflateDecoder::new(packed).read_exact(cluster),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            decoder.read_exact(cluster)
        }
    }
}

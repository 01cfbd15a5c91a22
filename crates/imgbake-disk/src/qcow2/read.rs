//! Reading a qcow2 image: whole runs at once, compressed clusters one by one.

use std::{
    io::{self, Read as _},
    sync::{Arc, Mutex, PoisonError},
};

use flate2::read::DeflateDecoder;

use super::{
    Header,
    header::Compression,
    map::{Mapping, Tables, run},
};
use crate::{
    DiskError, DiskSource, Extent, Result,
    bytes::{to_u64, to_usize},
    file::HostFile,
    source::ExtentList,
};

/// No cluster is larger than 2 MiB, so no honest window is larger than 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// One qcow2 file. What lies below it is handed to whoever reads: its backing disk, where it has one.
#[derive(Debug)]
pub(crate) struct Qcow2 {
    file: HostFile,
    header: Header,
    tables: Tables,
    /// The compressed cluster that was read last: small reads come in rows.
    last: Mutex<Option<(u64, Arc<[u8]>)>>,
}

impl Qcow2 {
    pub(crate) fn load(file: HostFile, header: Header) -> Result<Self> {
        let tables = Tables::load(&file, &header)?;
        Ok(Self { file, header, tables, last: Mutex::default() })
    }

    pub(crate) fn virtual_size(&self) -> u64 {
        self.header.size
    }

    /// Fills `buf` with the disk's bytes from `offset` on; zeros past its end.
    pub(crate) fn read_at(
        &self,
        backing: Option<&impl DiskSource>,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<()> {
        let there = to_usize(self.header.size.saturating_sub(offset).min(to_u64(buf.len())));
        let (mut left, past) = buf.split_at_mut(there);
        past.fill(0);
        let mut at = offset;
        while !left.is_empty() {
            let (place, len) = self.locate(at, to_u64(left.len()))?;
            let (now, later) = left.split_at_mut(to_usize(len));
            match (place, backing) {
                (Mapping::Backing, Some(backing)) => backing.read_at(at, now)?,
                _ => self.fill(place, at, now)?,
            }
            at += len;
            left = later;
        }
        Ok(())
    }

    /// The place of the bytes at `at`, and how many of the next `max` bytes it holds for.
    fn locate(&self, at: u64, max: u64) -> Result<(Mapping, u64)> {
        let cluster = self.header.cluster_size();
        let span = self.header.l2_span();
        let table = self.tables.l2(&self.file, &self.header, to_usize(at / span))?;
        let Some(table) = table else {
            return Ok((Mapping::Backing, max.min(span - at % span)));
        };
        let index = to_usize(at % span / cluster);
        let inside = at % cluster;
        let wanted = to_usize((inside + max).div_ceil(cluster));
        let (place, count) = run(&self.header, &table, index, wanted).map_err(|e| self.name(e))?;
        let place = match place {
            Mapping::Data(host) => Mapping::Data(host + inside),
            other => other,
        };
        Ok((place, max.min(to_u64(count) * cluster - inside)))
    }

    /// Fills `buf` with the bytes at `at`, so far as this file has them: zeros, where it has none.
    fn fill(&self, place: Mapping, at: u64, buf: &mut [u8]) -> Result<()> {
        match place {
            Mapping::Backing | Mapping::Zero => {
                buf.fill(0);
                Ok(())
            }
            Mapping::Data(host) => {
                // A file may end inside its last cluster, but not before it.
                let cluster = self.header.cluster_size();
                let end = host + to_u64(buf.len());
                if (end - 1) / cluster * cluster >= self.file.len {
                    let why = "a cluster lies past the file's end";
                    return Err(self.name(DiskError::truncated(why).at(host)));
                }
                self.file.read_padded(host, buf, "reading clusters")
            }
            Mapping::Compressed { offset, len } => {
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

    /// The ranges that may hold data, in this file or in its backing disk.
    pub(crate) fn extents(&self, backing: Option<&impl DiskSource>) -> Result<Vec<Extent>> {
        let below = backing.map(DiskSource::extents).transpose()?.unwrap_or_default();
        let mut below = Below { extents: &below, next: 0 };
        let mut list = ExtentList::new(self.header.size);
        self.walk(|place, start, len| match place {
            Mapping::Zero => {}
            Mapping::Backing => below.push(&mut list, start, len),
            Mapping::Data(_) | Mapping::Compressed { .. } => list.push(start, len),
        })?;
        Ok(list.finish())
    }

    /// The ranges that this image's own clusters cover, those that are reported to be zero among them.
    pub(crate) fn held(&self) -> Result<Vec<Extent>> {
        let mut list = ExtentList::new(self.header.size);
        self.walk(|place, start, len| match place {
            Mapping::Backing => {}
            Mapping::Zero | Mapping::Data(_) | Mapping::Compressed { .. } => list.push(start, len),
        })?;
        Ok(list.finish())
    }

    /// Shows of every range of the disk, from its start to its end, where its bytes are.
    fn walk(&self, mut emit: impl FnMut(Mapping, u64, u64)) -> Result<()> {
        let (cluster, span) = (self.header.cluster_size(), self.header.l2_span());
        for index in 0..self.tables.len() {
            let base = to_u64(index) * span;
            let Some(table) = self.tables.l2(&self.file, &self.header, index)? else {
                emit(Mapping::Backing, base, span);
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
                emit(place, start, to_u64(count) * cluster);
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

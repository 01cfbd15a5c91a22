//! The chunk table, and its bytes: read as what others wrote.

use super::number::{number, take_number, unzigzag, zigzag};
use super::{ChunkDigest, MAX_PACK, MAX_TABLE, PARAMS};
use crate::{
    DiskError, Result,
    bytes::{array, to_u64, to_usize},
    source::Extent,
};

/// A table's first bytes: the format's name and its version, 1.
const MAGIC: [u8; 8] = *b"IMGBKCT\x01";
/// Magic, virtual size, packs, chunks.
const HEADER: usize = 8 + 8 + 4 + 4;
/// A pack's digest and size.
const PACK: usize = 32 + 8;
/// A chunk's shortest form: five numbers of one byte each, and the digest.
const SHORTEST: usize = 5 + 32;

/// A pack that a table names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackRef {
    /// The SHA-256 of its bytes: its blob's name.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub size: u64,
}

/// Where a chunk's frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Which of the table's packs.
    pub pack: u32,
    /// Its first byte in the pack.
    pub offset: u32,
    /// Its length in the pack.
    pub len: u32,
}

impl Frame {
    /// The first byte after it in its pack.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// A piece of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first byte on the disk.
    pub offset: u64,
    /// Its length on the disk.
    pub len: u32,
    /// The digest of its bytes.
    pub digest: ChunkDigest,
    /// Where it is stored.
    pub frame: Frame,
}

impl Chunk {
    /// The first byte after it on the disk.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }

    /// Where it is on the disk.
    pub fn extent(&self) -> Extent {
        Extent { offset: self.offset, len: u64::from(self.len) }
    }
}

/// Which bytes of which pack are which bytes of a disk. What no chunk covers is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTable {
    virtual_size: u64,
    packs: Vec<PackRef>,
    chunks: Vec<Chunk>,
}

impl ChunkTable {
    /// A table of packs and of chunks in the disk's order. Packs are put in the order of their first
    /// use, and those that no chunk uses are left out: so the same disk in the same packs has one
    /// table only.
    ///
    /// # Errors
    /// The parts contradict each other, or are too many.
    pub fn new(virtual_size: u64, packs: &[PackRef], mut chunks: Vec<Chunk>) -> Result<Self> {
        let mut numbers: Vec<Option<u32>> = vec![None; packs.len()];
        let mut used: Vec<PackRef> = Vec::new();
        for chunk in &mut chunks {
            let old = to_usize(u64::from(chunk.frame.pack));
            let Some(number) = numbers.get_mut(old) else {
                return Err(bad("a chunk names a pack that is not there", chunk.offset));
            };
            chunk.frame.pack = *number.get_or_insert_with(|| {
                used.push(packs[old]);
                u32::try_from(used.len() - 1).unwrap_or(u32::MAX)
            });
        }
        check_packs(&used)?;
        check_counts(used.len(), chunks.len())?;
        let mut checker = Checker::new(virtual_size, &used);
        chunks.iter().try_for_each(|chunk| checker.next(chunk))?;
        Ok(Self { virtual_size, packs: used, chunks })
    }

    /// The disk's size in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// The packs, by number, in the order of their first use.
    pub fn packs(&self) -> &[PackRef] {
        &self.packs
    }

    /// The chunks, in the disk's order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Bytes of the disk that chunks cover.
    pub fn data_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum()
    }

    /// Bytes that the packs take.
    pub fn stored_bytes(&self) -> u64 {
        self.packs.iter().map(|pack| pack.size).sum()
    }

    /// The table's bytes: equal tables have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let mut out = Vec::with_capacity(HEADER + self.packs.len() * PACK + self.chunks.len() * 44);
        out.extend(MAGIC);
        out.extend(self.virtual_size.to_le_bytes());
        out.extend(count(self.packs.len()));
        out.extend(count(self.chunks.len()));
        for pack in &self.packs {
            out.extend(pack.sha256);
            out.extend(pack.size.to_le_bytes());
        }
        let mut before = Before::default();
        for chunk in &self.chunks {
            let frame = &chunk.frame;
            number(&mut out, chunk.offset - before.end);
            number(&mut out, u64::from(chunk.len));
            number(&mut out, zigzag(frame.pack, before.pack));
            number(&mut out, zigzag(frame.offset, before.offset_in(frame.pack)));
            number(&mut out, u64::from(frame.len));
            out.extend(chunk.digest.0);
            before.pass(chunk);
        }
        out
    }

    /// Reads a table that is not trusted. Memory stays below twice the length of `bytes`: every row has
    /// its bytes, and nothing in a table is packed.
    ///
    /// # Errors
    /// The bytes are no table of version 1, end early or late, or what they say cannot be: chunks that
    /// overlap, are out of order, too long, outside the disk or outside their pack.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER || bytes[..7] != MAGIC[..7] {
            return Err(DiskError::corrupt("this is no chunk table"));
        }
        if bytes[7] != MAGIC[7] {
            let why = format!("a chunk table of version {}: imgbake reads version 1", bytes[7]);
            return Err(DiskError::unsupported(why));
        }
        let virtual_size = u64::from_le_bytes(array(bytes, 8));
        let counts = [16, 20].map(|at| u64::from(u32::from_le_bytes(array(bytes, at))));
        let [packs, chunks] = counts.map(to_usize);
        check_counts(packs, chunks)?;
        let rows = to_u64(bytes.len() - HEADER);
        if counts[0] * to_u64(PACK) + counts[1] * to_u64(SHORTEST) > rows {
            let why = format!("{packs} packs and {chunks} chunks do not fit in {rows} bytes");
            return Err(DiskError::corrupt(why));
        }
        let (packed, rows) = bytes[HEADER..].split_at(packs * PACK);
        let packs: Vec<PackRef> = packed
            .chunks_exact(PACK)
            .map(|row| PackRef { sha256: array(row, 0), size: u64::from_le_bytes(array(row, 32)) })
            .collect();
        check_packs(&packs)?;
        let chunks = read_rows(rows, chunks, virtual_size, &packs)?;
        Ok(Self { virtual_size, packs, chunks })
    }
}

/// Reads exactly `count` rows.
fn read_rows(
    mut rows: &[u8],
    count: usize,
    virtual_size: u64,
    packs: &[PackRef],
) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::with_capacity(count);
    let mut checker = Checker::new(virtual_size, packs);
    let mut before = Before::default();
    for _ in 0..count {
        let chunk =
            read_row(&mut rows, &before).ok_or_else(|| bad("a row cannot be read", before.end))?;
        checker.next(&chunk)?;
        before.pass(&chunk);
        chunks.push(chunk);
    }
    if !rows.is_empty() {
        return Err(DiskError::corrupt("bytes after a chunk table's end"));
    }
    if checker.next_pack < packs.len() {
        return Err(DiskError::corrupt("a chunk table names a pack that no chunk uses"));
    }
    Ok(chunks)
}

fn read_row(rows: &mut &[u8], before: &Before) -> Option<Chunk> {
    let offset = before.end.checked_add(take_number(rows)?)?;
    let len = u32::try_from(take_number(rows)?).ok()?;
    let pack = unzigzag(take_number(rows)?, before.pack)?;
    let at = unzigzag(take_number(rows)?, before.offset_in(pack))?;
    let stored = u32::try_from(take_number(rows)?).ok()?;
    let (digest, rest) = rows.split_first_chunk::<32>()?;
    *rows = rest;
    let frame = Frame { pack, offset: at, len: stored };
    Some(Chunk { offset, len, digest: ChunkDigest(*digest), frame })
}

/// What the row before says, against which the next one is written.
#[derive(Default)]
struct Before {
    /// The chunk's end on the disk.
    end: u64,
    pack: u32,
    /// The frame's end in its pack.
    frame_end: u32,
}

impl Before {
    /// Where in `pack` the next frame is, unless its row says otherwise.
    fn offset_in(&self, pack: u32) -> u32 {
        if pack == self.pack { self.frame_end } else { 0 }
    }

    fn pass(&mut self, chunk: &Chunk) {
        let frame_end = u32::try_from(chunk.frame.end()).unwrap_or(u32::MAX);
        *self = Self { end: chunk.end(), pack: chunk.frame.pack, frame_end };
    }
}

/// Checks chunks in the disk's order.
struct Checker<'a> {
    virtual_size: u64,
    packs: &'a [PackRef],
    end: u64,
    /// Packs whose first use was seen: they are numbered by it.
    next_pack: usize,
}

impl<'a> Checker<'a> {
    fn new(virtual_size: u64, packs: &'a [PackRef]) -> Self {
        Self { virtual_size, packs, end: 0, next_pack: 0 }
    }

    fn next(&mut self, chunk: &Chunk) -> Result<()> {
        let refuse = |why| Err(bad(why, chunk.offset));
        if chunk.len == 0 || chunk.len > PARAMS.max {
            return refuse("a chunk is empty or too long");
        }
        if chunk.offset < self.end {
            return refuse("a chunk begins before the end of the one before");
        }
        match chunk.offset.checked_add(u64::from(chunk.len)) {
            Some(end) if end <= self.virtual_size => self.end = end,
            _ => return refuse("a chunk lies past the disk's end"),
        }
        let number = to_usize(u64::from(chunk.frame.pack));
        let Some(pack) = self.packs.get(number) else {
            return refuse("a chunk names a pack that is not there");
        };
        if chunk.frame.len == 0 || chunk.frame.end() > pack.size {
            return refuse("a chunk's frame is empty or lies past its pack's end");
        }
        if number > self.next_pack {
            return refuse("packs are not in the order of their first use");
        }
        self.next_pack = self.next_pack.max(number + 1);
        Ok(())
    }
}

fn check_packs(packs: &[PackRef]) -> Result<()> {
    match packs.iter().find(|pack| pack.size == 0 || pack.size > MAX_PACK) {
        None => Ok(()),
        Some(pack) => {
            let why = format!("a pack of {} bytes: 1 to {MAX_PACK} are read", pack.size);
            Err(DiskError::corrupt(why))
        }
    }
}

fn check_counts(packs: usize, chunks: usize) -> Result<()> {
    if packs > chunks {
        let why = format!("a chunk table names {packs} packs for {chunks} chunks");
        return Err(DiskError::corrupt(why));
    }
    if to_u64(chunks) * to_u64(SHORTEST) > MAX_TABLE {
        let why = format!("{chunks} chunks: a chunk table has at most {} MiB", MAX_TABLE >> 20);
        return Err(DiskError::unsupported(why));
    }
    Ok(())
}

fn bad(why: &str, offset: u64) -> DiskError {
    DiskError::corrupt(format!("in a chunk table, {why}")).at(offset)
}

//! The qcow2 header and its extensions ("Header", "Header extensions").

use crate::{
    DiskError, Result,
    bytes::{be32, be64, to_u64, to_usize},
    file::HostFile,
};

/// "QFI\xfb".
pub(crate) const MAGIC: [u8; 4] = *b"QFI\xfb";
/// QEMU's own limit for the active L1 table.
pub(crate) const MAX_L1_BYTES: u64 = 32 << 20;

const LEN_V2: usize = 72;
const LEN_V3: usize = 104;
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const EXT_BACKING_FORMAT: u32 = 0xE279_2ACA;
const MAX_CLUSTER: u64 = 2 << 20;
const MAX_NAME: u32 = 1023;

/// How compressed clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Deflate,
    Zstd,
}

/// What the header says, checked for what it alone can show.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) cluster_bits: u32,
    pub(crate) size: u64,
    pub(crate) l1_entries: u64,
    pub(crate) l1_offset: u64,
    pub(crate) compression: Compression,
    pub(crate) backing: Option<String>,
    pub(crate) backing_format: Option<String>,
}

/// Reads and parses the header of `file`.
pub(crate) fn read_header(file: &HostFile) -> Result<Header> {
    let mut bytes = vec![0; to_usize(file.len.min(MAX_CLUSTER))];
    file.read(0, &mut bytes, "reading the qcow2 header")?;
    Header::parse(&bytes).map_err(|e| e.in_file(&file.path))
}

impl Header {
    /// Parses a file's first cluster (or more, or all there is).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < LEN_V2 {
            return Err(DiskError::truncated("the qcow2 header is cut short"));
        }
        if bytes[..4] != MAGIC {
            return Err(DiskError::corrupt("no qcow2 magic").at(0));
        }
        let version = be32(bytes, 4);
        let cluster_bits = be32(bytes, 20);
        if !(9..=21).contains(&cluster_bits) {
            let why = format!("cluster size of 2^{cluster_bits} bytes");
            return Err(DiskError::corrupt(why).at(20));
        }
        if be32(bytes, 32) != 0 {
            return Err(DiskError::unsupported("the image is encrypted").at(32));
        }
        let (header_len, compression) = match version {
            2 => (LEN_V2, Compression::Deflate),
            3 => features(bytes)?,
            _ => return Err(DiskError::unsupported(format!("qcow2 version {version}")).at(4)),
        };
        let first = &bytes[..bytes.len().min(1 << cluster_bits)];
        let mut header = Self {
            version,
            cluster_bits,
            size: be64(bytes, 24),
            l1_entries: 0,
            l1_offset: be64(bytes, 40),
            compression,
            backing: backing_name(first)?,
            backing_format: backing_format(first, header_len)?,
        };
        header.l1_entries = header.check_l1(be32(bytes, 36))?;
        Ok(header)
    }

    pub(crate) fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries in one L2 table.
    pub(crate) fn l2_entries(&self) -> u64 {
        self.cluster_size() / 8
    }

    /// Bytes of the virtual disk that one L2 table maps.
    pub(crate) fn l2_span(&self) -> u64 {
        self.cluster_size() * self.l2_entries()
    }

    pub(crate) fn l1_bytes(&self) -> u64 {
        self.l1_entries * 8
    }

    /// How many L1 entries the size needs; the table must have them and be of a sane size.
    fn check_l1(&self, claimed: u32) -> Result<u64> {
        let needed = self.size.div_ceil(self.l2_span());
        if needed > MAX_L1_BYTES / 8 || self.size > i64::MAX.unsigned_abs() {
            let why = format!("virtual size of {} bytes", self.size);
            return Err(DiskError::unsupported(why).at(24));
        }
        if u64::from(claimed) < needed {
            let why = format!("an L1 table of {claimed} entries where the size needs {needed}");
            return Err(DiskError::corrupt(why).at(36));
        }
        if needed > 0
            && (self.l1_offset == 0 || !self.l1_offset.is_multiple_of(self.cluster_size()))
        {
            return Err(DiskError::corrupt("the L1 table is not at a cluster's start").at(40));
        }
        Ok(needed)
    }
}

fn features(bytes: &[u8]) -> Result<(usize, Compression)> {
    if bytes.len() < LEN_V3 {
        return Err(DiskError::truncated("the qcow2 header is cut short"));
    }
    let incompatible = be64(bytes, 72);
    let known = DIRTY | COMPRESSION_TYPE;
    if incompatible & CORRUPT != 0 {
        let why = "the image is marked corrupt; `qemu-img check -r all` may mend it";
        return Err(DiskError::corrupt(why).at(72));
    }
    if incompatible & EXTERNAL_DATA != 0 {
        return Err(DiskError::unsupported("the image keeps its data in another file").at(72));
    }
    if incompatible & EXTENDED_L2 != 0 {
        return Err(DiskError::unsupported("the image has subclusters (extended L2)").at(72));
    }
    if incompatible & !known != 0 {
        let why = format!("unknown incompatible features {incompatible:#x}");
        return Err(DiskError::unsupported(why).at(72));
    }
    let len = to_usize(be32(bytes, 100).into());
    if len < LEN_V3 || !len.is_multiple_of(8) || len > 1 << be32(bytes, 20) {
        return Err(DiskError::corrupt(format!("header length of {len} bytes")).at(100));
    }
    if len > bytes.len() {
        return Err(DiskError::truncated("the qcow2 header is cut short"));
    }
    let kind = if len > LEN_V3 { bytes[LEN_V3] } else { 0 };
    if (incompatible & COMPRESSION_TYPE != 0) != (kind != 0) {
        return Err(DiskError::corrupt("compression type and its feature bit differ").at(104));
    }
    match kind {
        0 => Ok((len, Compression::Deflate)),
        1 => Ok((len, Compression::Zstd)),
        _ => Err(DiskError::unsupported(format!("compression type {kind}")).at(104)),
    }
}

fn backing_name(first: &[u8]) -> Result<Option<String>> {
    let (offset, len) = (be64(first, 8), be32(first, 16));
    if offset == 0 {
        return Ok(None);
    }
    let name = (len > 0 && len <= MAX_NAME)
        .then(|| offset.checked_add(len.into()))
        .flatten()
        .and_then(|end| first.get(to_usize(offset)..to_usize(end)))
        .ok_or_else(|| DiskError::corrupt("the backing file's name is out of bounds").at(8))?;
    text(name, "the backing file's name is not UTF-8").map(Some)
}

fn backing_format(first: &[u8], header_len: usize) -> Result<Option<String>> {
    let mut at = header_len;
    let cut = |at| DiskError::corrupt("a header extension is out of bounds").at(to_u64(at));
    // A version 2 header may end with its fields, in which case the extensions are all absent.
    while let Some(head) = first.get(at..at + 8) {
        let (kind, len) = (be32(head, 0), to_usize(be32(head, 4).into()));
        if kind == 0 {
            break;
        }
        let data = first.get(at + 8..).and_then(|rest| rest.get(..len)).ok_or_else(|| cut(at))?;
        if kind == EXT_BACKING_FORMAT {
            return text(data, "the backing format is not UTF-8").map(Some);
        }
        at += 8 + len.next_multiple_of(8);
    }
    Ok(None)
}

fn text(bytes: &[u8], why: &str) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DiskError::unsupported(why))
}

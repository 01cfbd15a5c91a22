//! The superblock, the group descriptors and the inodes.

use super::{Volume, to_u64, to_usize};
use crate::{
    DiskError, Result,
    bytes::{le16, le32},
    crc32c::crc32c,
};

/// The superblock's first byte (`super.rst`).
const SUPERBLOCK: u64 = 1024;
const MAGIC: u16 = 0xEF53;

/// Bytes in the superblock; the last four are its checksum, where it has one.
const SUPERBLOCK_LEN: usize = 1024;

const COMPAT_HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_EA_INODE: u32 = 0x400;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;

const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

/// The root folder's inode.
pub(super) const ROOT: u32 = 2;

/// What of the superblock is needed to find an inode.
pub(super) struct Layout<'a> {
    volume: &'a Volume,
    /// Bytes in a block.
    pub(super) block: usize,
    blocks: u64,
    inodes: u32,
    inodes_per_group: u32,
    inode_len: usize,
    descriptors: u64,
    descriptor_len: u64,
}

/// One inode's bytes, 128 or more.
pub(super) struct Inode {
    pub(super) bytes: Vec<u8>,
}

/// What opening a file system must know.
pub(super) struct Summary {
    /// Its length in bytes.
    pub(super) len: u64,
    /// The superblock as `ext4-view` is shown it, where it differs from the one on the volume.
    pub(super) superblock: Option<Vec<u8>>,
}

/// Reads the superblock, if the fields that a reader would ask for memory by make sense.
pub(super) fn summary(volume: &Volume) -> Result<Summary> {
    let (layout, _) = Layout::geometry(volume)?;
    let mut superblock = vec![0; SUPERBLOCK_LEN];
    volume.read_at(SUPERBLOCK, &mut superblock)?;
    Ok(Summary { len: layout.blocks * to_u64(layout.block), superblock: readable(&superblock) })
}

/// The superblock without two features that `ext4-view` refuses and that no name or data depends on: the
/// journal of a file system that was unmounted, where it has no checksums; and extended attributes with
/// inodes of their own, which are read here (`xattr.rs`).
fn readable(superblock: &[u8]) -> Option<Vec<u8>> {
    let (compatible, incompatible) = (le32(superblock, 0x5C), le32(superblock, 0x60));
    let checksums = le32(superblock, 0x64) & RO_COMPAT_METADATA_CSUM != 0;
    let hides_journal = incompatible & INCOMPAT_RECOVER == 0 && !checksums;
    let shown = (
        if hides_journal { compatible & !COMPAT_HAS_JOURNAL } else { compatible },
        incompatible & !INCOMPAT_EA_INODE,
    );
    if shown == (compatible, incompatible) {
        return None;
    }
    let mut readable = superblock.to_vec();
    readable[0x5C..0x60].copy_from_slice(&shown.0.to_le_bytes());
    readable[0x60..0x64].copy_from_slice(&shown.1.to_le_bytes());
    if checksums {
        // The kernel's crc32c leaves out the inversion at the end.
        let (body, checksum) = readable.split_at_mut(SUPERBLOCK_LEN - 4);
        checksum.copy_from_slice(&(!crc32c(body)).to_le_bytes());
    }
    Some(readable)
}

/// Puts another superblock into what was read of the volume from `at` on, where it is in these bytes.
pub(super) fn show_superblock(superblock: &[u8], at: u64, bytes: &mut [u8]) {
    let end = (SUPERBLOCK + to_u64(superblock.len())).min(at + to_u64(bytes.len()));
    let begin = SUPERBLOCK.max(at);
    if begin < end {
        let from = to_usize(begin - SUPERBLOCK)..to_usize(end - SUPERBLOCK);
        bytes[to_usize(begin - at)..to_usize(end - at)].copy_from_slice(&superblock[from]);
    }
}

impl<'a> Layout<'a> {
    /// Reads the superblock, for reading what only the journal's owner keeps in order.
    pub(super) fn read(volume: &'a Volume) -> Result<Self> {
        let (layout, features) = Self::geometry(volume)?;
        if features & INCOMPAT_RECOVER != 0 {
            let why = "extended attributes of a file system that was not unmounted";
            return Err(DiskError::unsupported(why));
        }
        if features & INCOMPAT_META_BG != 0 {
            return Err(DiskError::unsupported("extended attributes with meta block groups"));
        }
        Ok(layout)
    }

    fn geometry(volume: &'a Volume) -> Result<(Self, u32)> {
        let mut block = [0; 1024];
        if volume.len() < SUPERBLOCK + to_u64(block.len()) {
            return Err(DiskError::unsupported("no ext4 file system: the partition is too small"));
        }
        volume.read_at(SUPERBLOCK, &mut block)?;
        if le16(&block, 0x38) != MAGIC {
            return Err(DiskError::unsupported("no ext4 file system"));
        }
        let bad = |what: &str| DiskError::corrupt(format!("the ext4 superblock's {what}"));
        let features = le32(&block, 0x60);
        let log = le32(&block, 0x18);
        if log > 6 {
            return Err(bad("block size"));
        }
        let block_len = 1024_u64 << log;
        let wide = features & INCOMPAT_64BIT != 0;
        let high = if wide { le32(&block, 0x150) } else { 0 };
        let blocks = u64::from(le32(&block, 0x4)) | u64::from(high) << 32;
        if blocks.checked_mul(block_len).is_none_or(|len| len > volume.len()) {
            return Err(bad("number of blocks: more than the partition holds"));
        }
        let (per_group, inodes_per_group) = (le32(&block, 0x20), le32(&block, 0x28));
        // mke2fs makes groups of 256 blocks at least.
        if per_group < 256 || inodes_per_group == 0 {
            return Err(bad("group size"));
        }
        let inode_len = if le32(&block, 0x4C) == 0 { 128 } else { le16(&block, 0x58) };
        if inode_len < 128 || u64::from(inode_len) > block_len || !inode_len.is_power_of_two() {
            return Err(bad("inode size"));
        }
        let descriptor_len = if wide { le16(&block, 0xFE) } else { 32 };
        if descriptor_len < 32 || u64::from(descriptor_len) > block_len {
            return Err(bad("group descriptor size"));
        }
        let layout = Self {
            volume,
            block: to_usize(block_len),
            blocks,
            inodes: le32(&block, 0),
            inodes_per_group,
            inode_len: usize::from(inode_len),
            descriptors: (u64::from(le32(&block, 0x14)) + 1) * block_len,
            descriptor_len: descriptor_len.into(),
        };
        Ok((layout, features))
    }

    /// Reads a block by its number on the volume.
    pub(super) fn block(&self, number: u64) -> Result<Vec<u8>> {
        if number == 0 || number >= self.blocks {
            return Err(DiskError::corrupt(format!("there is no block {number}")));
        }
        let mut bytes = vec![0; self.block];
        self.volume.read_at(number * to_u64(self.block), &mut bytes)?;
        Ok(bytes)
    }

    /// Reads an inode by its number, from 1 (`inodes.rst`, "Finding an Inode").
    pub(super) fn inode(&self, number: u32) -> Result<Inode> {
        if number == 0 || number > self.inodes {
            return Err(DiskError::corrupt(format!("there is no inode {number}")));
        }
        let (group, index) =
            ((number - 1) / self.inodes_per_group, (number - 1) % self.inodes_per_group);
        let mut descriptor = vec![0; to_usize(self.descriptor_len)];
        let at = self.descriptors + u64::from(group) * self.descriptor_len;
        self.volume.read_at(at, &mut descriptor)?;
        let high = if descriptor.len() >= 64 { le32(&descriptor, 0x28) } else { 0 };
        let table = u64::from(le32(&descriptor, 0x8)) | u64::from(high) << 32;
        if table == 0 || table >= self.blocks {
            return Err(DiskError::corrupt(format!("group {group} has no inode table")));
        }
        let mut bytes = vec![0; self.inode_len];
        let at = table * to_u64(self.block) + u64::from(index) * to_u64(self.inode_len);
        self.volume.read_at(at, &mut bytes)?;
        Ok(Inode { bytes })
    }
}

impl Inode {
    const EXTENTS: u32 = 0x8_0000;
    const INLINE: u32 = 0x1000_0000;

    /// Whether it is a folder: `S_IFDIR`.
    pub(super) fn is_folder(&self) -> bool {
        le16(&self.bytes, 0) & 0xF000 == 0x4000
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        u64::from(le32(&self.bytes, 0x4)) | u64::from(le32(&self.bytes, 0x6C)) << 32
    }

    /// Whether `i_block` is a tree of extents.
    pub(super) fn has_extents(&self) -> bool {
        le32(&self.bytes, 0x20) & Self::EXTENTS != 0
    }

    /// Whether its data are in the inode.
    pub(super) fn is_inline(&self) -> bool {
        le32(&self.bytes, 0x20) & Self::INLINE != 0
    }

    /// `i_block`: the map of its blocks.
    pub(super) fn map(&self) -> &[u8] {
        &self.bytes[0x28..0x64]
    }

    /// The block of its extended attributes; 0 where it has none.
    pub(super) fn xattr_block(&self) -> u64 {
        u64::from(le32(&self.bytes, 0x68)) | u64::from(le16(&self.bytes, 0x76)) << 32
    }

    /// What lies behind its fields: extended attributes, where it starts with their magic number.
    pub(super) fn body(&self) -> &[u8] {
        if self.bytes.len() <= 128 {
            return &[];
        }
        self.bytes.get(128 + usize::from(le16(&self.bytes, 0x80))..).unwrap_or(&[])
    }
}

//! An inode's data: its blocks, found through extents (`ifork.rst`, "Extent Tree") or the block map of
//! ext2 and ext3.

use super::layout::{Inode, Layout};
use super::{to_u64, to_usize};
use crate::{
    DiskError, Result,
    bytes::{le16, le32},
};

const EXTENT_MAGIC: u16 = 0xF30A;
/// A tree is no deeper.
const MAX_DEPTH: u16 = 5;
/// Blocks that a block map names itself.
const DIRECT: usize = 12;

/// The blocks of an inode's data, as far as its length goes, in their order. What is in no extent, or in
/// one that was never written, is left out.
pub(super) fn blocks(layout: &Layout<'_>, inode: &Inode, limit: u64) -> Result<Vec<u64>> {
    if inode.is_inline() {
        return Err(DiskError::unsupported("data in an inode"));
    }
    if inode.len() > limit {
        let why = format!("{} bytes, more than {limit}", inode.len());
        return Err(DiskError::unsupported(why));
    }
    let most = to_usize(inode.len().div_ceil(to_u64(layout.block)));
    let mut found =
        Found { layout, most, nodes: most + usize::from(MAX_DEPTH), blocks: Vec::new() };
    if inode.has_extents() {
        found.extents(inode.map(), MAX_DEPTH)?;
    } else {
        found.map(inode.map())?;
    }
    Ok(found.blocks)
}

/// An inode's data.
pub(super) fn data(layout: &Layout<'_>, inode: &Inode, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for block in blocks(layout, inode, limit)? {
        bytes.extend(layout.block(block)?);
    }
    bytes.truncate(to_usize(inode.len()));
    Ok(bytes)
}

struct Found<'a> {
    layout: &'a Layout<'a>,
    /// As many blocks as the data take.
    most: usize,
    /// As many nodes of the tree as are still read.
    nodes: usize,
    blocks: Vec<u64>,
}

impl Found<'_> {
    fn extents(&mut self, node: &[u8], deepest: u16) -> Result<()> {
        let bad = |what: &str| DiskError::corrupt(format!("an extent tree's {what}"));
        let (entries, depth) = (le16(node, 2), le16(node, 6));
        if le16(node, 0) != EXTENT_MAGIC {
            return Err(bad("magic number"));
        }
        if depth > deepest {
            return Err(bad("depth"));
        }
        if usize::from(entries) > node.len() / 12 - 1 {
            return Err(bad("number of entries"));
        }
        for entry in node[12..].chunks_exact(12).take(entries.into()) {
            if depth == 0 {
                self.extent(entry)?;
                continue;
            }
            self.nodes = self.nodes.checked_sub(1).ok_or_else(|| bad("number of nodes"))?;
            let child = u64::from(le32(entry, 4)) | u64::from(le16(entry, 8)) << 32;
            self.extents(&self.layout.block(child)?, depth - 1)?;
        }
        Ok(())
    }

    fn extent(&mut self, entry: &[u8]) -> Result<()> {
        let count = le16(entry, 4);
        // More than 32768 stands for blocks that were never written.
        if count > 0x8000 {
            return Ok(());
        }
        let first = u64::from(le32(entry, 8)) | u64::from(le16(entry, 6)) << 32;
        (0..u64::from(count)).try_for_each(|index| self.add(first.saturating_add(index)))
    }

    fn add(&mut self, block: u64) -> Result<()> {
        if self.blocks.len() == self.most {
            return Err(DiskError::corrupt("an inode has more blocks than its length takes"));
        }
        self.blocks.push(block);
        Ok(())
    }

    fn map(&mut self, map: &[u8]) -> Result<()> {
        let used = |entries: &[u8]| -> Vec<u64> {
            let numbers = entries.chunks_exact(4).map(|entry| u64::from(le32(entry, 0)));
            numbers.filter(|&number| number != 0).collect()
        };
        let (direct, indirect) = map.split_at(4 * DIRECT);
        for block in used(direct) {
            self.add(block)?;
        }
        if le32(indirect, 4) != 0 || le32(indirect, 8) != 0 {
            return Err(DiskError::unsupported("a block map with more than one level"));
        }
        for node in used(&indirect[..4]) {
            for block in used(&self.layout.block(node)?) {
                self.add(block)?;
            }
        }
        Ok(())
    }
}

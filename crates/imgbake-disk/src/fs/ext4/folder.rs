//! From a path without links to an inode (`directory.rst`). An index (htree) needs no care: its nodes
//! look like blocks without entries.

use super::blocks::blocks;
use super::layout::{Inode, Layout, ROOT};
use crate::{
    DiskError, DiskErrorKind, Result,
    bytes::{le16, le32},
};

/// A folder's data are no longer than this.
const MAX_FOLDER: u64 = 256 << 20;

/// The inode that a path names. The path is absolute and has no links in it.
pub(super) fn resolve(layout: &Layout<'_>, path: &[u8]) -> Result<Inode> {
    let mut inode = layout.inode(ROOT)?;
    for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
        let number = if inode.is_folder() { find(layout, &inode, name)? } else { None };
        let number = number.ok_or_else(|| {
            let path = String::from_utf8_lossy(path);
            DiskError::new(DiskErrorKind::NotFound, format!("{path}: no such file"))
        })?;
        inode = layout.inode(number)?;
    }
    Ok(inode)
}

fn find(layout: &Layout<'_>, folder: &Inode, name: &[u8]) -> Result<Option<u32>> {
    for block in blocks(layout, folder, MAX_FOLDER)? {
        if let Some(number) = find_in(&layout.block(block)?, name)? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn find_in(block: &[u8], name: &[u8]) -> Result<Option<u32>> {
    let mut at = 0;
    while let Some(head) = block.get(at..at + 8) {
        let len = match usize::from(le16(head, 4)) {
            // A block of 64 KiB is one more than the field can say.
            0 | 0xFFFF if block.len() == 1 << 16 => block.len() - at,
            len => len,
        };
        let found = block.get(at + 8..at + 8 + usize::from(head[6]));
        if len < 8 || at + len > block.len() {
            return Err(DiskError::corrupt("a folder's entry is out of bounds"));
        }
        let number = le32(head, 0);
        if number != 0 && found == Some(name) {
            return Ok(Some(number));
        }
        at += len;
    }
    Ok(None)
}

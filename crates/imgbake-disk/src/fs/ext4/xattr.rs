//! Extended attributes (`attributes.rst`): in an inode behind its fields, in one block of their own,
//! and large values in inodes of their own.

use super::blocks::data;
use super::layout::{Inode, Layout};
use super::{to_u64, to_usize};
use crate::{
    DiskError, Result,
    bytes::{le16, le32},
};

const MAGIC: u32 = 0xEA02_0000;
/// The header of a block with attributes.
const BLOCK_HEADER: usize = 32;
/// An entry without its name.
const ENTRY: usize = 16;
/// `XATTR_SIZE_MAX` (Linux, `include/uapi/linux/limits.h`).
const MAX_VALUE: u64 = 64 << 10;
/// More than this, in names and values together, no inode has.
const MAX_ALL: usize = 1 << 20;

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Its whole name: `security.capability`.
    pub name: Vec<u8>,
    /// Its value, as it is stored.
    pub value: Vec<u8>,
}

/// All attributes of an inode, sorted by name.
pub(super) fn read(layout: &Layout<'_>, inode: &Inode) -> Result<Vec<Xattr>> {
    let mut found = Found { layout, xattrs: Vec::new(), bytes: 0 };
    let body = inode.body();
    if body.len() > 4 && le32(body, 0) == MAGIC {
        found.entries(&body[4..], 0)?;
    }
    match inode.xattr_block() {
        0 => {}
        number => {
            let block = layout.block(number)?;
            if le32(&block, 0) != MAGIC {
                return Err(DiskError::corrupt("an attribute block's magic number"));
            }
            found.entries(&block, BLOCK_HEADER)?;
        }
    }
    found.xattrs.sort();
    Ok(found.xattrs)
}

struct Found<'a> {
    layout: &'a Layout<'a>,
    xattrs: Vec<Xattr>,
    /// Bytes of all names and values.
    bytes: usize,
}

impl Found<'_> {
    /// The entries of an area from `at` on; their values are placed from the area's start.
    fn entries(&mut self, area: &[u8], mut at: usize) -> Result<()> {
        let bad = |what: &str| DiskError::corrupt(format!("an extended attribute's {what}"));
        // Four zero bytes end the list; so does the area.
        while area.get(at..at + 4).is_some_and(|head| head != [0; 4]) {
            let entry = area.get(at..at + ENTRY).ok_or_else(|| bad("entry is cut off"))?;
            let end = at + ENTRY + usize::from(entry[0]);
            let name = area.get(at + ENTRY..end).ok_or_else(|| bad("name is cut off"))?;
            let name = [prefix(entry[1])?, name].concat();
            let size = u64::from(le32(entry, 8));
            self.bytes += name.len() + to_usize(size.min(MAX_VALUE));
            if size > MAX_VALUE || self.bytes > MAX_ALL {
                return Err(bad("value is too long"));
            }
            let value = match le32(entry, 4) {
                0 => {
                    let start = usize::from(le16(entry, 2));
                    let value = area.get(start..start + to_usize(size));
                    value.ok_or_else(|| bad("value is out of bounds"))?.to_vec()
                }
                number => self.value_of(number, size)?,
            };
            self.xattrs.push(Xattr { name, value });
            at = end.next_multiple_of(4);
        }
        Ok(())
    }

    /// A value that has an inode of its own (feature `ea_inode`).
    fn value_of(&self, number: u32, size: u64) -> Result<Vec<u8>> {
        let value = data(self.layout, &self.layout.inode(number)?, MAX_VALUE)?;
        if to_u64(value.len()) != size {
            return Err(DiskError::corrupt("an extended attribute's value has another length"));
        }
        Ok(value)
    }
}

/// "Attribute name indices".
fn prefix(index: u8) -> Result<&'static [u8]> {
    Ok(match index {
        0 => b"",
        1 => b"user.",
        2 => b"system.posix_acl_access",
        3 => b"system.posix_acl_default",
        4 => b"trusted.",
        6 => b"security.",
        7 => b"system.",
        8 => b"system.richacl",
        _ => return Err(DiskError::unsupported(format!("extended attributes of kind {index}"))),
    })
}

//! From a path to one without links, `.` and `..` (`path_resolution(7)`).
//!
//! `ext4-view` follows links too, but takes as much memory as a link says that it is long, before it
//! reads it: a link of a damaged file system may say 2^64. So it is only given paths without links.

use std::cell::RefCell;

use ext4_view::{Ext4, Ext4Error};

use super::error::{failed, shown};
use crate::{DiskError, Result};

/// Linux, `include/uapi/linux/limits.h`, `PATH_MAX`: what a link holds is shorter.
const MAX_LINK: u64 = 4096;

/// As Linux has it (`include/linux/namei.h`, `MAXSYMLINKS`), for the whole path.
const MAX_LINKS: usize = 40;

/// What resolves paths. It remembers the last folder, since most paths come folder by folder.
#[derive(Default)]
pub(super) struct Paths {
    last: RefCell<Option<(Vec<u8>, Vec<u8>)>>,
}

impl Paths {
    /// A path without links that names what `path` names.
    pub(super) fn follow(&self, view: &Ext4, path: &[u8]) -> Result<Vec<u8>> {
        let linked = self.above(view, path)?;
        if is_link(view, &linked)? { resolve(view, path) } else { Ok(linked) }
    }

    /// The same, but for a link at its end: that one is named itself.
    pub(super) fn above(&self, view: &Ext4, path: &[u8]) -> Result<Vec<u8>> {
        let (folder, name) = split(path);
        if !path.starts_with(b"/") || matches!(name, b"" | b"." | b"..") {
            return resolve(view, path);
        }
        let mut last = self.last.borrow_mut();
        let folder = match &*last {
            Some((given, resolved)) if given == folder => resolved.clone(),
            _ => {
                let resolved = resolve(view, folder)?;
                *last = Some((folder.to_vec(), resolved.clone()));
                resolved
            }
        };
        Ok(joined(&folder, name))
    }
}

/// What a link holds. The path has no links before its end.
pub(super) fn target(view: &Ext4, path: &[u8]) -> Result<Vec<u8>> {
    let wrong = |error: Ext4Error| failed(&shown(path), &error);
    let len = view.symlink_metadata(path).map_err(wrong)?.len();
    if len >= MAX_LINK {
        let why = format!("{}: a link of {len} bytes", shown(path));
        return Err(DiskError::corrupt(why));
    }
    Ok(view.read_link(path).map_err(wrong)?.as_ref().to_vec())
}

fn resolve(view: &Ext4, path: &[u8]) -> Result<Vec<u8>> {
    if !path.starts_with(b"/") {
        return Err(failed(&shown(path), &Ext4Error::NotAbsolute));
    }
    let mut resolved = b"/".to_vec();
    let mut links = 0;
    // The names that are still to be walked, the next one last.
    let mut names = reversed(path);
    while let Some(name) = names.pop() {
        if name == b".." {
            resolved = split(&resolved).0.to_vec();
            continue;
        }
        let next = joined(&resolved, &name);
        if !is_link(view, &next)? {
            resolved = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(failed(&shown(path), &Ext4Error::TooManySymlinks));
        }
        let target = target(view, &next)?;
        if target.starts_with(b"/") {
            resolved = b"/".to_vec();
        }
        names.extend(reversed(&target));
    }
    Ok(resolved)
}

fn is_link(view: &Ext4, path: &[u8]) -> Result<bool> {
    let found = view.symlink_metadata(path).map_err(|error| failed(&shown(path), &error))?;
    Ok(found.file_type() == ext4_view::FileType::Symlink)
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').rev();
    names.filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
}

fn joined(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if folder.ends_with(b"/") { b"" } else { b"/" };
    [folder, slash, name].concat()
}

/// A path's folder and its last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let path = &path[..end];
    let at = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    match path.len() {
        0 => (b"/", b""),
        _ if at == 0 => (b"/", &path[1..]),
        _ => (&path[..at], &path[at + 1..]),
    }
}

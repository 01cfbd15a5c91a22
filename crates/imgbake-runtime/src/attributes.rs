//! Extended attributes of the host's files, as far as a copy shall have them.

use std::ffi::CStr;
use std::io;

use camino::Utf8Path;
use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// Names that a copy is given: file capabilities, and what users wrote. Labels of a security module and ACLs
/// name what the host has, and the machine need not.
const CARRIED: [&str; 2] = ["security.capability", "user."];
/// Names that a warning lists where they are not carried.
const LISTED: [&str; 1] = ["system.posix_acl_"];
/// Files that a warning names.
const SHOWN: usize = 5;

/// A file's attributes that matter to a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Those that a copy is given, by name.
    pub carried: Vec<(String, Vec<u8>)>,
    /// The names of those that no copy is given.
    pub left: Vec<String>,
}

/// Reads a file's attributes; links are not followed. A file system that has none gives none.
///
/// # Errors
/// The file is not there, or its attributes may not be read.
pub fn read(path: &Utf8Path) -> io::Result<Attributes> {
    let mut found = Attributes::default();
    for name in names(path)? {
        if CARRIED.iter().any(|carried| name.starts_with(carried)) {
            let value = value(path, &name)?;
            found.carried.push((name, value));
        } else if LISTED.iter().any(|listed| name.starts_with(listed)) {
            found.left.push(name);
        }
    }
    Ok(found)
}

fn names(path: &Utf8Path) -> io::Result<Vec<String>> {
    let mut list = vec![0; 64 << 10];
    let len = match llistxattr(path.as_std_path(), &mut list[..]) {
        Ok(len) => len,
        Err(Errno::NOTSUP | Errno::PERM) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = list[..len].split_inclusive(|byte| *byte == 0);
    let name = |bytes| CStr::from_bytes_with_nul(bytes).ok()?.to_str().ok().map(str::to_owned);
    let mut names: Vec<String> = names.filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn value(path: &Utf8Path, name: &str) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 64 << 10];
    let len = lgetxattr(path.as_std_path(), name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

/// What is said of files whose attributes were not carried over.
pub fn lost(files: &[(&str, &Attributes)]) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for (file, attributes) in files {
        let carried = attributes.carried.iter().map(|(name, _)| name);
        let names: Vec<&str> = carried.chain(&attributes.left).map(String::as_str).collect();
        if !names.is_empty() {
            words.push(format!("{file} ({})", names.join(", ")));
        }
    }
    let more = words.len().saturating_sub(SHOWN);
    words.truncate(SHOWN);
    if words.is_empty() {
        return None;
    }
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("extended attributes were not copied: {}{more}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_named() {
        let attributes = Attributes {
            carried: vec![("user.a".to_owned(), b"1".to_vec())],
            left: vec!["system.posix_acl_access".to_owned()],
        };
        assert_eq!(lost(&[("f", &Attributes::default())]), None);
        assert_eq!(
            lost(&[("f", &attributes)]).unwrap(),
            "extended attributes were not copied: f (user.a, system.posix_acl_access)"
        );
        let many: Vec<(&str, &Attributes)> = (0..7).map(|_| ("f", &attributes)).collect();
        assert!(lost(&many).unwrap().ends_with(" and 2 more"));
    }
}

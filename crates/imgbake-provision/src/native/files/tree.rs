//! What is in a folder of the host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

/// Something in a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its path below the folder.
    pub(super) path: Utf8PathBuf,
    /// What it is.
    pub(super) what: What,
}

/// What something in a folder is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A file, with its permissions.
    File(u32),
    /// A folder.
    Folder,
    /// A link to a path.
    Link(String),
}

/// All that is in a folder, each folder before what it holds, in the order of names.
pub(super) fn list(root: &Utf8Path) -> io::Result<Vec<Found>> {
    let (mut found, mut waiting) = (Vec::new(), vec![Utf8PathBuf::new()]);
    while let Some(folder) = waiting.pop() {
        let mut names = Vec::new();
        for entry in root.join(&folder).read_dir_utf8()? {
            names.push(folder.join(entry?.file_name()));
        }
        names.sort();
        for path in names {
            let host = root.join(&path);
            let metadata = fs::symlink_metadata(&host)?;
            let what = if metadata.is_symlink() {
                What::Link(host.read_link_utf8()?.into_string())
            } else if metadata.is_dir() {
                waiting.push(path.clone());
                What::Folder
            } else if metadata.is_file() {
                What::File(metadata.permissions().mode() & 0o7777)
            } else {
                let text = format!("{host} is neither a file, a folder nor a link");
                return Err(io::Error::other(text));
            };
            found.push(Found { path, what });
        }
    }
    Ok(found)
}

/// The permissions of a file or folder of the host.
pub(super) fn mode(path: &Utf8Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

//! Removing files and folders, even while a thread of an interrupted job still writes into them.

use std::fs;
use std::io;

use camino::Utf8Path;

use crate::RuntimeError;

/// Removes a file or a whole folder; one that is not there is no error.
pub fn remove_path(path: &Utf8Path) -> Result<(), RuntimeError> {
    let remove = || match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    let mut removed = remove();
    // A thread of an interrupted job may write its last file meanwhile.
    for _ in 0..100 {
        if !matches!(&removed, Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty) {
            break;
        }
        std::thread::yield_now();
        removed = remove();
    }
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

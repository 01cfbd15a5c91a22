//! How much room a file system has.

use camino::{Utf8Path, Utf8PathBuf};

use imgbake_types::Size;

use crate::{RuntimeError, RuntimeErrorKind};

/// Bytes that an ordinary user may still write where `path` is (or will be).
pub fn free_bytes(path: &Utf8Path) -> Option<u64> {
    let existing = path.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(existing.as_std_path()).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The mount point of the file system that `path` is on (or will be).
pub fn mount_point(path: &Utf8Path) -> Utf8PathBuf {
    let device = |p: &Utf8Path| rustix::fs::stat(p.as_std_path()).ok().map(|stat| stat.st_dev);
    let Some(existing) = path.ancestors().find(|p| p.exists()) else {
        return path.to_owned();
    };
    let existing = existing.canonicalize_utf8().unwrap_or_else(|_| existing.to_owned());
    let here = device(&existing);
    existing.ancestors().take_while(|p| device(p) == here).last().unwrap_or(&existing).to_owned()
}

/// The error for a full file system: which one, what is free, what was needed.
pub fn full(path: &Utf8Path, needed: Option<u64>) -> RuntimeError {
    let free = Size::bytes(free_bytes(path).unwrap_or(0)).human();
    let needed =
        needed.map_or_else(String::new, |n| format!(", {} needed", Size::bytes(n).human()));
    RuntimeError::new(
        RuntimeErrorKind::Full,
        format!(
            "no space left on the file system {} ({free} free{needed}), writing {path}",
            mount_point(path)
        ),
    )
}

/// Refuses to begin what cannot fit.
pub fn require(path: &Utf8Path, needed: u64) -> Result<(), RuntimeError> {
    match free_bytes(path) {
        Some(free) if free < needed => Err(full(path, Some(needed))),
        _ => Ok(()),
    }
}

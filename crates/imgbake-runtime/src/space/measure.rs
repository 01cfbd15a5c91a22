//! What a file system has: bytes that are free, and where it is mounted.

use camino::{Utf8Path, Utf8PathBuf};

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

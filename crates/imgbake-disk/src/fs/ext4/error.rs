//! What the crate `ext4-view` says, as errors of ours.

use ext4_view::Ext4Error;

use crate::{DiskError, DiskErrorKind};

/// A path as it is shown.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// An error of the crate, with what it was about.
pub(super) fn failed(what: &str, error: &Ext4Error) -> DiskError {
    let kind = match &error {
        Ext4Error::NotFound | Ext4Error::NotADirectory => DiskErrorKind::NotFound,
        Ext4Error::Corrupt(_) => DiskErrorKind::Corrupt,
        Ext4Error::Io(source) => {
            source.downcast_ref::<DiskError>().map_or(DiskErrorKind::Io, DiskError::kind)
        }
        _ => DiskErrorKind::Unsupported,
    };
    DiskError::new(kind, format!("{what}: {error}"))
}

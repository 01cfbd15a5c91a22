//! What the fuzz targets see of this crate beside its public interface.

use camino::Utf8PathBuf;

use crate::{Home, journal};

/// The paths that a sweep would remove for a job's journal.
pub fn swept_paths(home: &Home, job: &str, text: &str) -> Vec<Utf8PathBuf> {
    journal::paths(home, job, &journal::read(text).known).cloned().collect()
}

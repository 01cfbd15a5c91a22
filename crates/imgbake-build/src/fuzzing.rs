//! What the fuzz targets see of this crate beside its public interface.

use camino::{Utf8Path, Utf8PathBuf};

use crate::cache::parse_record;

/// Where a layer's files are by its `layer.json`; `None` where that is none.
pub fn layer_files(json: &[u8], dir: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
    let record = parse_record(json).ok()?;
    record.files().into_iter().map(|(_, file)| file.path(dir)).collect()
}

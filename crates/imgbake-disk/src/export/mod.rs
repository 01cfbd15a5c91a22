//! Writing a disk in the format a platform wants. Same disk, same seed: same bytes.

mod format;
mod options;
mod pipeline;
mod progress;
mod qcow2;
mod raw;
mod vhd;
mod vhdx;
mod vmdk;

use camino::Utf8Path;

pub use format::ExportFormat;
pub use options::ExportOptions;

use progress::Progress;

use crate::{DiskSource, Result, file::OutFile};

/// Writes `source` to `path` as `format`, and syncs it. The file is made, or emptied; a caller
/// that wants all or nothing names a temporary file and renames. `progress` gets the bytes of the
/// virtual disk done since its last call, holes among them; they add up to its size.
pub fn export(
    source: &dyn DiskSource,
    format: ExportFormat,
    path: &Utf8Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let out = OutFile::create(path)?;
    let progress = &mut Progress::new(source.virtual_size(), progress);
    match format {
        ExportFormat::Raw => raw::write(source, &out, source.virtual_size(), progress),
        ExportFormat::Qcow2 => qcow2::write(source, &out, options, progress),
        ExportFormat::Vmdk => vmdk::write(source, &out, options, progress),
        ExportFormat::Vhd => vhd::write(source, &out, options, progress),
        ExportFormat::Vhdx => vhdx::write(source, &out, options, progress),
    }
    .map_err(|e| e.in_file(path))?;
    progress.finish();
    out.sync()
}

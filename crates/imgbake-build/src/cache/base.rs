//! A source's layer: it takes the base disk in, or refers to it where it is.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{DiskFormat, DiskImage};
use imgbake_runtime::Job;

use super::draft::{Draft, lock};
use super::error::{CacheError, CacheErrorKind, io_at};
use super::proof::Proofs;
use super::record::{BaseRecord, DiskFile, KernelRecord, LayerFile};
use crate::{BaseDisk, KernelFiles};

/// A base disk whose files are where the layer will name them.
#[derive(Debug, Clone)]
pub(super) struct TakenBase {
    disk: BaseDisk,
    format: DiskFormat,
}

impl Draft {
    /// Makes a base disk the layer's: one that was made in the job's work folder is moved in, with its
    /// kernel, one elsewhere is referred to by its path. Gives the disk as it is to be used from now
    /// on; while a machine stands on it, [`Draft::hold`] the draft.
    ///
    /// # Errors
    /// The disk cannot be read, or stands on another file; a file cannot be moved. All is then where
    /// it was.
    pub fn take_base(&self, base: &BaseDisk, job: &Job) -> Result<BaseDisk, CacheError> {
        let image = DiskImage::open(&base.path)?;
        if image.backing().is_some() {
            let words = format!("{} stands on another file: it cannot be a layer", base.path);
            return Err(CacheError::new(CacheErrorKind::Invalid, words));
        }
        let format = image.format();
        let mut moves = Moves { work: job.work(), dir: self.dir(), done: Vec::new() };
        let disk = moves.take_all(base, format).inspect_err(|_| moves.undo())?;
        *lock(&self.0.base) = Some(TakenBase { disk: disk.clone(), format });
        Ok(disk)
    }
}

/// Files on their way into a layer's folder.
struct Moves<'a> {
    work: &'a Utf8Path,
    dir: &'a Utf8Path,
    done: Vec<(Utf8PathBuf, Utf8PathBuf)>,
}

impl Moves<'_> {
    fn take_all(&mut self, base: &BaseDisk, format: DiskFormat) -> Result<BaseDisk, CacheError> {
        let path = self.take(&base.path, &format!("disk.{format}"))?;
        let kernel = base.kernel.as_ref().map(|kernel| self.take_kernel(kernel)).transpose()?;
        Ok(BaseDisk { path, kernel, ..base.clone() })
    }

    fn take_kernel(&mut self, files: &KernelFiles) -> Result<KernelFiles, CacheError> {
        let kernel = self.take(&files.kernel, "kernel")?;
        let initrd = files.initrd.as_ref().map(|path| self.take(path, "initrd")).transpose()?;
        Ok(KernelFiles { kernel, initrd, cmdline: files.cmdline.clone() })
    }

    fn take(&mut self, from: &Utf8Path, name: &str) -> Result<Utf8PathBuf, CacheError> {
        let found = from.canonicalize_utf8().map_err(io_at("find", from))?;
        let work = self.work.canonicalize_utf8().map_err(io_at("find", self.work))?;
        if !found.starts_with(work) {
            return Ok(found);
        }
        let to = self.dir.join(name);
        fs::rename(&found, &to).map_err(io_at("move into the layer cache", from))?;
        self.done.push((to.clone(), found));
        Ok(to)
    }

    fn undo(&mut self) {
        for (to, from) in self.done.drain(..).rev() {
            // The error that is told is the one that came first.
            let _ = fs::rename(to, from);
        }
    }
}

impl TakenBase {
    /// Digests its files.
    pub(super) fn record(
        &self,
        dir: &Utf8Path,
        proofs: &mut Proofs,
    ) -> Result<(DiskFile, Option<BaseRecord>), CacheError> {
        let mut measure = |name: &str, path: &Utf8Path| -> Result<LayerFile, CacheError> {
            let file = path.strip_prefix(dir).unwrap_or(path).to_owned();
            proofs.measure(name, path, file)
        };
        let disk = DiskFile {
            file: measure("disk", &self.disk.path)?,
            format: self.format,
            virtual_size: self.disk.virtual_size,
            backing: None,
        };
        let mut kernel = None;
        if let Some(files) = &self.disk.kernel {
            kernel = Some(KernelRecord {
                kernel: measure("kernel", &files.kernel)?,
                initrd: match &files.initrd {
                    Some(path) => Some(measure("initrd", path)?),
                    None => None,
                },
                cmdline: files.cmdline.clone(),
            });
        }
        Ok((disk, Some(BaseRecord { parent: self.disk.parent.clone(), kernel })))
    }
}

//! A source's layer: it takes the base disk in, or refers to it where it is.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::DiskImage;
use imgbake_types::record::Parent;

use super::error::{CacheError, CacheErrorKind, io_at};
use super::proof::Proofs;
use super::record::{BaseRecord, DiskFile, KernelRecord, LayerFile};
use crate::{BaseDisk, KernelFiles, LocalDisk};

/// A base disk whose files are where the layer will name them.
#[derive(Debug, Clone)]
pub(super) struct TakenBase {
    disk: LocalDisk,
    parent: Parent,
}

/// Files on their way into a layer's folder.
struct Moves<'a> {
    work: &'a Utf8Path,
    dir: &'a Utf8Path,
    done: Vec<(Utf8PathBuf, Utf8PathBuf)>,
}

impl Moves<'_> {
    fn take_all(&mut self, disk: &LocalDisk) -> Result<LocalDisk, CacheError> {
        let path = self.take(&disk.path, &format!("disk.{}", disk.format))?;
        let kernel = disk.kernel.as_ref().map(|kernel| self.take_kernel(kernel)).transpose()?;
        Ok(LocalDisk { path, kernel, ..disk.clone() })
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
            // The error that is reported is the one that came first.
            let _ = fs::rename(to, from);
        }
    }
}

impl TakenBase {
    /// Takes a disk and its kernel into a layer's folder: what is in the job's work folder is moved, what
    /// is elsewhere is referred to.
    ///
    /// # Errors
    /// The disk is native to a builder; it cannot be read, or is based on another file; a file cannot be
    /// moved. All is then where it was.
    pub(super) fn take(
        base: &BaseDisk,
        work: &Utf8Path,
        dir: &Utf8Path,
    ) -> Result<Self, CacheError> {
        let invalid = |message| CacheError::new(CacheErrorKind::Invalid, message);
        let Some(disk) = base.local() else {
            return Err(invalid("a native disk cannot be a layer".to_owned()));
        };
        let image = DiskImage::open_as(&disk.path, disk.format)?;
        if image.backing().is_some() {
            let message = format!("{} is based on another file: it cannot be a layer", disk.path);
            return Err(invalid(message));
        }
        let mut moves = Moves { work, dir, done: Vec::new() };
        let disk = moves.take_all(disk).inspect_err(|_| moves.undo())?;
        Ok(Self { disk, parent: base.parent.clone() })
    }

    /// The disk where it is now.
    pub(super) fn disk(&self) -> &LocalDisk {
        &self.disk
    }

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
            format: self.disk.format,
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
        Ok((disk, Some(BaseRecord { parent: self.parent.clone(), kernel })))
    }
}

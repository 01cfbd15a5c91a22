//! A layer that was found: it stays while anybody holds it.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Digest;
use imgbake_types::record::{LayerRef, Parent};
use jiff::Timestamp;

use super::error::{CacheError, io_at};
use super::lock::Lock;
use super::record::{BaseRecord, LayerFile, LayerRecord, StateRecord};
use crate::{BaseDisk, KernelFiles, LocalDisk, SavedMachine};

/// A whole layer, held with all below it while this or a clone lives.
#[derive(Debug, Clone)]
pub struct Layer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: Utf8PathBuf,
    record: LayerRecord,
    /// The lock lives as long as the layer.
    _lock: Lock,
    /// Dropped after the lock: nobody finds this layer without the one below.
    parent: Option<Layer>,
}

impl Layer {
    pub(super) fn new(
        dir: Utf8PathBuf,
        record: LayerRecord,
        parent: Option<Self>,
        lock: Lock,
    ) -> Self {
        Self(Arc::new(Inner { dir, record, parent, _lock: lock }))
    }

    /// Its step's key.
    pub fn key(&self) -> &Digest {
        &self.0.record.key
    }

    /// What is written down of it.
    pub fn record(&self) -> &LayerRecord {
        &self.0.record
    }

    /// Its folder.
    pub fn dir(&self) -> &Utf8Path {
        &self.0.dir
    }

    /// The layer below.
    pub fn parent(&self) -> Option<&Self> {
        self.0.parent.as_ref()
    }

    /// All below it, the nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.parent(), |layer| layer.parent())
    }

    /// Itself or the one below it that has this key.
    pub fn with_key(&self, key: &Digest) -> Option<&Self> {
        std::iter::once(self).chain(self.ancestors()).find(|layer| layer.key() == key)
    }

    /// What a version records of it.
    pub fn reference(&self) -> LayerRef {
        LayerRef { key: self.key().clone(), created: self.0.record.created }
    }

    /// Its disk's file.
    pub fn disk_path(&self) -> Utf8PathBuf {
        self.path(&self.0.record.disk.file)
    }

    /// The files of its machine's extra disks.
    pub(super) fn extra_paths(&self) -> Vec<Utf8PathBuf> {
        self.0.record.extra.iter().map(|extra| self.path(&extra.file)).collect()
    }

    /// Its disk, for a machine's overlay. The kernel is named for a source's own layer alone: in those
    /// above it, a step may have put another one on the disk.
    pub fn local_disk(&self) -> LocalDisk {
        let base = self.0.record.base.as_ref();
        LocalDisk {
            path: self.disk_path(),
            format: self.0.record.disk.format,
            virtual_size: self.0.record.disk.virtual_size,
            kernel: base.and_then(|base| self.kernel(base)),
            extra: self.extra_paths(),
        }
    }

    /// Its disk, as what a machine starts from.
    pub fn disk(&self) -> BaseDisk {
        BaseDisk {
            location: self.local_disk().into(),
            parent: self.base_parent(),
            bytes: 0,
            cached: true,
        }
    }

    /// Whether a machine's state was kept.
    pub fn state(&self) -> Option<&StateRecord> {
        self.0.record.state.as_ref()
    }

    /// The state's file.
    pub fn state_path(&self) -> Option<Utf8PathBuf> {
        self.state().map(|state| self.path(&state.file))
    }

    /// The machine that was kept, as a builder lets it go on. `None` also where the layer that it was
    /// booted from is not below this one.
    pub fn saved(&self) -> Option<SavedMachine> {
        let booted_from = self.with_key(&self.state()?.booted_from)?.disk();
        Some(SavedMachine { state: self.state_path()?, booted_from })
    }

    /// Seconds since it was made.
    pub fn age(&self) -> f64 {
        let age = Timestamp::now().duration_since(self.0.record.created);
        age.as_secs_f64().max(0.0)
    }

    /// Notes that it was used now: what was used last is dropped last.
    pub fn touch(&self) -> Result<(), CacheError> {
        touch(&self.0.dir)
    }

    fn path(&self, file: &LayerFile) -> Utf8PathBuf {
        self.0.dir.join(&file.file)
    }

    /// What the source at the chain's lower end said.
    fn base_parent(&self) -> Parent {
        let mut chain = std::iter::once(self).chain(self.ancestors());
        chain.find_map(|layer| layer.0.record.base.as_ref()).map_or_else(
            // A chain whose lowest layer was none of a source's: its key names it as well.
            || Parent {
                reference: None,
                native: None,
                digest: self.key().clone(),
                kind: "layer".to_owned(),
            },
            |base| base.parent.clone(),
        )
    }

    fn kernel(&self, base: &BaseRecord) -> Option<KernelFiles> {
        let kernel = base.kernel.as_ref()?;
        Some(KernelFiles {
            kernel: self.path(&kernel.kernel),
            initrd: kernel.initrd.as_ref().map(|initrd| self.path(initrd)),
            cmdline: kernel.cmdline.clone(),
        })
    }
}

/// The file whose time shows when a layer was used last.
pub(super) const USED: &str = "used";

pub(super) fn touch(dir: &Utf8Path) -> Result<(), CacheError> {
    let path = dir.join(USED);
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .map_err(io_at("note the use in", &path))
}

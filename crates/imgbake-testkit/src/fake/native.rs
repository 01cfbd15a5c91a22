//! The disks that a fake builder keeps itself, and what removes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use imgbake_build::{BuildError, BuildErrorKind, LocalDisk, NativeDisk};
use imgbake_runtime::journal::{Cleaner, RemoteResource};
use imgbake_runtime::{Job, RuntimeError};

use super::disk::FakeDisk;
use crate::lock::lock;

/// The kind of a native disk in the journal.
const RESOURCE: &str = "fake-disk";

/// A fake builder's native disks, by their ids. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct NativeDisks {
    /// The builder's kind.
    builder: &'static str,
    disks: Arc<Mutex<BTreeMap<String, FakeDisk>>>,
}

impl NativeDisks {
    /// Those of a builder of this kind: none yet.
    pub(super) fn of(builder: &'static str) -> Self {
        Self { builder, disks: Arc::default() }
    }

    /// Takes a disk in that belongs to nobody's job.
    pub(super) fn import(&self, id: &str, disk: &LocalDisk) -> NativeDisk {
        self.add(id, FakeDisk::on(disk))
    }

    /// Copies a machine's disk; the copy is the job's.
    pub(super) fn copy(&self, job: &Job, disk: FakeDisk) -> Result<NativeDisk, BuildError> {
        let mut entry = job.intend(RESOURCE, "memory", serde_json::Value::Null)?;
        let id = entry.resource().mark.clone();
        let native = self.add(&id, disk);
        entry.made(&id)?;
        Ok(native)
    }

    fn add(&self, id: &str, disk: FakeDisk) -> NativeDisk {
        let virtual_size = Some(disk.virtual_size);
        lock(&self.disks).insert(id.to_owned(), disk);
        NativeDisk { builder: self.builder.to_owned(), id: id.to_owned(), virtual_size }
    }

    pub(super) fn get(&self, id: &str) -> Result<FakeDisk, BuildError> {
        lock(&self.disks).get(id).cloned().ok_or_else(|| {
            let message = format!("there is no fake disk `{id}`");
            BuildError::new(BuildErrorKind::NotFound, message)
        })
    }

    /// The ids of all.
    pub(super) fn ids(&self) -> Vec<String> {
        lock(&self.disks).keys().cloned().collect()
    }
}

#[async_trait]
impl Cleaner for NativeDisks {
    fn kind(&self) -> &str {
        RESOURCE
    }

    async fn remove(&self, resource: &RemoteResource) -> Result<(), RuntimeError> {
        // A copy's id is its mark.
        lock(&self.disks).remove(&resource.mark);
        Ok(())
    }
}

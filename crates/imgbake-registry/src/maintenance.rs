//! What keeps a layout in order: collecting, holds, reading everything again.

use std::sync::Arc;

use imgbake_types::Reference;
use imgbake_types::record::VersionView;

use crate::deep::{DeepReport, Depth, Repair};
use crate::gc::{GcReport, GcRequest, RemovedVersion};
use crate::layout::{Layout, StopOnDrop};
use crate::{Result, deep, gc};

impl Layout {
    /// Takes away what no name leads to, and versions that the rules let go.
    ///
    /// # Errors
    /// The registry is damaged, or its files cannot be written.
    pub async fn gc(&self, request: GcRequest) -> Result<GcReport> {
        self.run(move |store| gc::gc(store, &request)).await
    }

    /// Takes a version's name away, also of one that cannot be read; a later [`Layout::gc`] frees its bytes.
    ///
    /// # Errors
    /// There is no such version; something needs it.
    pub async fn remove(&self, reference: &Reference) -> Result<RemovedVersion> {
        let reference = reference.clone();
        self.run(move |store| gc::remove::remove(store, &reference)).await
    }

    /// Reads every blob again, of one version or of all names; what is damaged is put back as far as
    /// `repair` and what is stored beside it have it. `progress` is given the bytes read, and bytes in all.
    ///
    /// # Errors
    /// There is no such version, a seed cannot be opened, or a file can be neither read nor written.
    pub async fn read_again(
        &self,
        reference: Option<&Reference>,
        depth: Depth,
        repair: Repair,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Result<DeepReport> {
        let reference = reference.cloned();
        let stop = StopOnDrop::default();
        let stopped = Arc::clone(&stop.0);
        self.run(move |store| {
            let watch = deep::Watch { depth, progress: &progress, stop: &stopped };
            deep::read(store, reference.as_ref(), &repair, &watch)
        })
        .await
    }

    /// Puts a hold on a version: no rule takes it away.
    ///
    /// # Errors
    /// There is no such version, or the registry's files cannot be written.
    pub async fn hold(&self, reference: &Reference, reason: &str) -> Result<VersionView> {
        let (reference, reason) = (reference.clone(), reason.to_owned());
        self.run(move |store| gc::hold::hold(store, &reference, &reason)).await
    }

    /// Takes a version's hold away.
    ///
    /// # Errors
    /// There is no such version, or it has no hold.
    pub async fn release(&self, reference: &Reference) -> Result<VersionView> {
        let reference = reference.clone();
        self.run(move |store| gc::hold::release(store, &reference)).await
    }
}

//! The registry in one local folder: what a build asks of it, done in a layout.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use imgbake_build::{Capture, Image, KnownChunks, Naming, Registry, Whole};
use imgbake_disk::chunk::ChunkTable;
use imgbake_types::record::{ImageConfig, ListedVersion, VersionView};
use imgbake_types::{Digest, Reference};

use crate::image::LayoutImage;
use crate::layout::{Layout, StopOnDrop};
use crate::{Result, intent, lease, publish, restore, stored_chunks, versions};

#[async_trait]
impl Registry for Layout {
    async fn known(&self, name: &str, parent: Option<&Digest>) -> Result<KnownChunks> {
        let (name, parent) = (name.to_owned(), parent.cloned());
        self.run(move |store| stored_chunks::known(store, &name, parent.as_ref())).await
    }

    async fn table(&self, digest: &Digest) -> Result<ChunkTable> {
        let digest = digest.clone();
        self.run(move |store| stored_chunks::table(store, &digest)).await
    }

    async fn publish(
        &self,
        capture: &Capture,
        config: ImageConfig,
        naming: &Naming,
    ) -> Result<VersionView> {
        let (capture, naming) = (capture.clone(), naming.clone());
        self.run(move |store| publish::publish(store, &capture, config, &naming)).await
    }

    async fn versions(&self, name: Option<&str>) -> Result<Vec<ListedVersion>> {
        let name = name.map(str::to_owned);
        self.run(move |store| Ok(versions::list(store, &store.index()?, name.as_deref()))).await
    }

    async fn resolve(&self, reference: &Reference) -> Result<VersionView> {
        let reference = reference.clone();
        self.run(move |store| versions::resolve(store, &reference)).await
    }

    async fn restore(
        &self,
        digest: &Digest,
        into: File,
        whole: Whole,
        progress: Box<dyn FnMut(u64) + Send>,
    ) -> Result<Option<Digest>> {
        let digest = digest.clone();
        let stop = StopOnDrop::default();
        let stopped = Arc::clone(&stop.0);
        self.run(move |store| {
            let _lease = lease::take(store, &digest)?;
            restore::restore(store, &digest, &into, whole, progress, &stopped)
        })
        .await
    }

    fn image(&self, name: &str) -> Box<dyn Image> {
        Box::new(LayoutImage::new(self.clone(), name))
    }

    async fn sweep(&self) -> Result<()> {
        // Who holds the lock now is alive, and sweeps before its own change.
        self.run(|store| store.try_lock()?.map_or(Ok(()), |lock| intent::sweep(store, &lock))).await
    }
}

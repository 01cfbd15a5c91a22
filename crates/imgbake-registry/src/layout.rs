//! The registry in one local folder.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{Capture, Known, Naming, Registry, Whole};
use imgbake_disk::chunk::ChunkTable;
use imgbake_types::record::{ChannelMove, ImageConfig, VerifyRecord, VersionView};
use imgbake_types::{Digest, Reference};

use crate::deep::{DeepReport, Depth, Repair};
use crate::files::damaged;
use crate::gc::{GcReport, GcRequest};
use crate::store::Store;
use crate::{Result, channels, deep, gc, intent, known, lease, publish, restore, verify, versions};

/// An OCI image layout on disk. Clones are the same layout; any number of processes may use one.
#[derive(Debug, Clone)]
pub struct Layout(Store);

impl Layout {
    /// Opens the layout in a folder; where there is none, or an empty one, makes an empty layout.
    /// A folder that holds something else is an error.
    pub fn open(root: impl Into<Utf8PathBuf>) -> Result<Self> {
        Store::open(root.into()).map(Self)
    }

    /// The folder.
    pub fn root(&self) -> &Utf8Path {
        self.0.root()
    }

    /// Takes away what no name leads to, and versions that the rules let go.
    ///
    /// # Errors
    /// The registry is damaged, or its files cannot be written.
    pub async fn gc(&self, request: GcRequest) -> Result<GcReport> {
        self.run(move |store| gc::gc(store, &request)).await
    }

    /// Opens the layout in a folder: nothing is made there.
    ///
    /// # Errors
    /// There is no layout.
    pub fn open_existing(root: impl Into<Utf8PathBuf>) -> Result<Self> {
        Store::open_existing(root.into()).map(Self)
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

    /// The layout's files.
    pub(crate) fn store(&self) -> &Store {
        &self.0
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

    /// Runs what waits for files and locks where it holds nobody up.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        blocking(self.0.clone(), work).await
    }
}

/// Runs what waits for files and locks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    store: Store,
    work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    done.unwrap_or_else(|error| {
        Err(damaged("the registry's work ended before it was done").because(error))
    })
}

/// Ends the threads of an unpacking that nobody waits for any more.
#[derive(Debug, Default)]
pub(crate) struct StopOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Registry for Layout {
    async fn known(&self, name: &str, parent: Option<&Digest>) -> Result<Known> {
        let (name, parent) = (name.to_owned(), parent.cloned());
        self.run(move |store| known::known(store, &name, parent.as_ref())).await
    }

    async fn table(&self, digest: &Digest) -> Result<ChunkTable> {
        let digest = digest.clone();
        self.run(move |store| known::table(store, &digest)).await
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

    async fn versions(&self, name: Option<&str>) -> Result<Vec<VersionView>> {
        let name = name.map(str::to_owned);
        self.run(move |store| versions::list(store, &store.index()?, name.as_deref())).await
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

    async fn record_verify(&self, name: &str, record: &VerifyRecord) -> Result<()> {
        let (name, record) = (name.to_owned(), record.clone());
        self.run(move |store| verify::record(store, &name, &record)).await
    }

    async fn move_channel(&self, name: &str, entry: ChannelMove) -> Result<ChannelMove> {
        let name = name.to_owned();
        self.run(move |store| channels::move_channel(store, &name, entry)).await
    }

    async fn history(&self, name: &str, channel: &str) -> Result<Vec<ChannelMove>> {
        let (name, channel) = (name.to_owned(), channel.to_owned());
        self.run(move |store| channels::history(store, &name, &channel)).await
    }

    async fn sweep(&self) -> Result<()> {
        // Who holds the lock now is alive, and sweeps before its own change.
        self.run(|store| store.try_lock()?.map_or(Ok(()), |lock| intent::sweep(store, &lock))).await
    }
}

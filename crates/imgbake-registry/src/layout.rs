//! The handle on an OCI image layout: its folder, and work in it. What is done with one is in the files
//! that use this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use crate::Result;
use crate::files::damaged;
use crate::store::Store;

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

    /// Opens the layout in a folder: nothing is made there.
    ///
    /// # Errors
    /// There is no layout.
    pub fn open_existing(root: impl Into<Utf8PathBuf>) -> Result<Self> {
        Store::open_existing(root.into()).map(Self)
    }

    /// The layout's files.
    pub(crate) fn store(&self) -> &Store {
        &self.0
    }

    /// Runs what waits for files and locks where it holds nobody up.
    pub(crate) async fn run<T: Send + 'static>(
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

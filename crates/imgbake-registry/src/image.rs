//! One image in either store: a name in a layout, or a repository of a registry. What can be done with one
//! is in the files of the traits that both have.

use std::collections::BTreeSet;
use std::time::Duration;

use imgbake_build::Image;
use imgbake_oci::Repository;
use imgbake_runtime::Job;
use tokio::sync::OnceCell;

use crate::layout::Layout;

/// How long another contender for a channel may do nothing before it counts as dead.
const PATIENCE: Duration = Duration::from_secs(3);

/// One image of a layout: a name in it.
#[derive(Debug, Clone)]
pub struct LayoutImage {
    pub(crate) layout: Layout,
    pub(crate) name: String,
}

impl LayoutImage {
    /// The image of this name.
    pub fn new(layout: Layout, name: &str) -> Self {
        Self { layout, name: name.to_owned() }
    }
}

impl Image for LayoutImage {
    fn label(&self) -> String {
        self.name.clone()
    }
}

/// One image in a registry: a repository. Where referrers need it, it is asked once which tags it has:
/// for each command an image of its own.
#[derive(Debug, Clone)]
pub struct RemoteImage {
    pub(crate) job: Job,
    pub(crate) repository: Repository,
    pub(crate) patience: Duration,
    /// The repository's tags, as they were when they were first needed: listing them is dear.
    pub(crate) tags: OnceCell<BTreeSet<String>>,
}

impl RemoteImage {
    /// The image that a repository holds.
    pub fn new(job: &Job, repository: Repository) -> Self {
        Self { job: job.clone(), repository, patience: PATIENCE, tags: OnceCell::new() }
    }

    /// Waits so long for others who began to move a channel and do nothing more. Too short a time makes
    /// contenders disturb each other, and nothing worse.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

impl Image for RemoteImage {
    fn label(&self) -> String {
        self.repository.label()
    }
}

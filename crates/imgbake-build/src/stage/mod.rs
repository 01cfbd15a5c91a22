//! The stages of a build: each a value that the next one consumes, so that none can be left out.

mod basis;
mod boot;
mod captured;
mod guest;
mod provisioned;
mod published;
mod restore;
mod save;
mod sealed;
mod shared;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
use imgbake_runtime::Job;
use imgbake_types::Plan;
use imgbake_types::record::{StageRecord, VerifyStatus, VersionView};
use tokio::sync::Semaphore;

use crate::cache::{CacheMode, LayerCache};
use crate::rooms::Rooms;

use crate::share::LayerShare;
use crate::{BuildError, Machine, Registry};

pub use boot::Booted;
pub use captured::Captured;
pub use provisioned::Provisioned;
pub use published::{Published, Verified, refuse};
pub use sealed::Sealed;
use walk::Walked;

/// What every stage is given.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    /// The running job.
    pub job: &'a Job,
    /// What to do.
    pub plan: &'a Plan,
    /// Who does it.
    pub rooms: &'a Rooms,
    /// This program's name and version, for the record.
    pub tool: &'a str,
    /// The layers of earlier builds; without them, every step runs.
    pub layers: Option<&'a Layers>,
    /// The rights to run a machine: one for each that may run at once.
    pub slots: &'a Semaphore,
    /// Lets the user into a machine whose step failed.
    pub rescue: Option<&'a dyn Rescue>,
}

/// The layers of earlier builds.
#[derive(Clone)]
pub struct Layers {
    /// Where they are.
    pub cache: LayerCache,
    /// What of them is used.
    pub mode: CacheMode,
    /// Where disks of layers are written to as well.
    pub to: Option<Arc<dyn LayerShare>>,

    /// Where disks of layers that are not here are taken from.
    pub from: Option<Arc<dyn LayerShare>>,
}

/// Lets the user into a machine whose step failed.
#[async_trait]
pub trait Rescue: Send + Sync {
    /// Opens a session with the command `access` and asks what to do once it ends.
    async fn enter(&self, step: &str, error: &BuildError, access: &str) -> Rescued;
}

/// What the user chose after having been in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescued {
    /// The step runs again, in the machine as it is.
    Retry,
    /// The build fails.
    GiveUp,
}

/// What the stages so far took.
pub type Log = Vec<StageRecord>;

/// A build that failed, with what it leaves: the machine still runs, for the user to look at.
pub struct Failure {
    /// Why.
    pub error: BuildError,
    /// The machine, if there was one. Whoever takes the failure ends it.
    pub machine: Option<Box<dyn Machine>>,
    /// The version, if one was published before the failure.
    pub version: Option<Box<VersionView>>,
}

impl Failure {
    /// A failure that leaves a machine.
    fn with(machine: Box<dyn Machine>) -> impl FnOnce(BuildError) -> Self {
        |error| Self { error, machine: Some(machine), version: None }
    }
}

impl<E: Into<BuildError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), machine: None, version: None }
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failure").field("error", &self.error).finish_non_exhaustive()
    }
}

/// The version that a plan made already and that was proved as the plan says, if there is one: building
/// it again would change nothing. There is none where a step's key does not decide its result.
pub async fn unchanged(
    registry: &dyn Registry,
    plan: &Plan,
) -> Result<Option<VersionView>, BuildError> {
    if !plan.layers().iter().all(|step| step.cache) {
        return Ok(None);
    }
    let proved = |version: &VersionView| {
        version.verify.status == VerifyStatus::Passed || !plan.verify().0.enabled()
    };
    let versions = registry.versions(Some(&plan.image.name)).await?;
    Ok(versions.into_iter().rev().find(|v| v.plan.digest == plan.digest && proved(v)))
}

/// Runs the whole flow up to the verified version.
pub async fn run(build: Build<'_>) -> Result<Verified, Failure> {
    build.rooms.check(build.job, build.plan).await?;
    let Walked { provisioned, mut saver, slot } = walk::walk(build).await?;
    let verified = prove(build, provisioned).await;
    // The last layer is committed while the machine is sealed and its disk read.
    saver.finish(build).await;
    drop(slot);
    verified
}

/// From a provisioned machine to the verified version.
async fn prove(build: Build<'_>, provisioned: Provisioned) -> Result<Verified, Failure> {
    let sealed = provisioned.seal(build).await?;
    let captured = sealed.capture(build).await?;
    let published = captured.publish(build).await?;
    published.verify(build).await
}

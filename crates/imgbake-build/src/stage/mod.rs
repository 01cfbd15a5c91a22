//! The stages of a build: each a value that the next one consumes, so that none can be left out.

mod basis;
mod boot;
mod captured;
mod context;
mod converge;
mod events;
mod failure;
mod provisioned;
mod published;
mod rescue;
mod restore;
mod save;
mod sealed;
mod shared;
mod walk;
mod watched;

use imgbake_types::Plan;
use imgbake_types::record::{ListedVersion, VerifyStatus, VersionView};

use crate::{BuildError, Registry};

pub use boot::Booted;
pub use captured::Captured;
pub use context::{Build, Layers, Log};
pub use converge::EndState;
pub use failure::Failure;
pub use provisioned::Provisioned;
pub use published::{Published, Verified, refuse};
pub use rescue::{Rescue, Rescued};
pub use sealed::Sealed;
use walk::Walked;

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
    let mut newest = versions.iter().rev().filter_map(ListedVersion::readable);
    Ok(newest.find(|version| version.plan.digest == plan.digest && proved(version)).cloned())
}

/// Runs the whole flow up to the verified version.
pub async fn run(build: Build<'_>) -> Result<Verified, Failure> {
    build.components.check(build.job, build.plan).await?;
    let Walked { provisioned, mut saver, slot } = walk::walk(build).await?;
    let verified = prove(build, provisioned).await;
    // The last layer is committed while the machine is sealed and its disk read.
    saver.finish(build).await;
    drop(slot);
    verified
}

/// Runs a plan up to its last provision step, with the proofs that its steps converge; publishes nothing. Gives
/// what each stage did.
pub async fn prove_convergence(build: Build<'_>) -> Result<Log, Failure> {
    build.components.check(build.job, build.plan).await?;
    let Walked { provisioned: Provisioned(booted), mut saver, slot } = walk::walk(build).await?;
    let Booted { mut machine, log, .. } = booted;
    machine.end().await;
    saver.finish(build).await;
    drop(slot);
    Ok(log)
}

/// Runs a plan up to its last provision step, and lists what the machine is then; publishes nothing.
pub async fn end_state(build: Build<'_>) -> Result<EndState, Failure> {
    build.components.check(build.job, build.plan).await?;
    let Walked { provisioned: Provisioned(booted), mut saver, slot } = walk::walk(build).await?;
    let state = EndState::of(build, &booted).await;
    let mut machine = booted.machine;
    machine.end().await;
    saver.finish(build).await;
    drop(slot);
    Ok(state?)
}

/// From a provisioned machine to the verified version.
async fn prove(build: Build<'_>, provisioned: Provisioned) -> Result<Verified, Failure> {
    let sealed = provisioned.seal(build).await?;
    let captured = sealed.capture(build).await?;
    let published = captured.publish(build).await?;
    published.verify(build).await
}

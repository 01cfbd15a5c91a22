//! What a plan's steps leave, to compare it with what they leave elsewhere.

use imgbake_types::record::step::Resource;

use super::super::boot::Booted;
use super::super::context::Build;
use super::compare::{Contents, differences};
use super::state::{Inspector, State};
use crate::BuildError;

/// What a machine is after its last provision step: files with their content, packages, units, users and groups.
#[derive(Debug)]
pub struct EndState {
    state: State,
    contents: Contents,
}

impl EndState {
    /// Lists a machine, and reads all its files.
    pub(in crate::stage) async fn of(
        build: Build<'_>,
        booted: &Booted,
    ) -> Result<Self, BuildError> {
        let inspector = Inspector { job: build.job, comm: &*booted.comm };
        let mut ignored = build.plan.converge.ignored();
        ignored.extend(build.components.sealer.own_paths());
        let mut state = inspector.state(&ignored).await?;
        // Its clock says nothing of another machine's files.
        state.began = i64::MIN;
        let contents = inspector.contents(&state, state.files.keys()).await?;
        Ok(Self { state, contents })
    }

    /// What is not the same in another machine, as resources that changed from this one to that.
    pub fn differences(&self, other: &Self) -> Vec<Resource> {
        let found = differences((&self.state, &self.contents), (&other.state, &other.contents));
        found.into_iter().map(|one| one.resource).collect()
    }
}

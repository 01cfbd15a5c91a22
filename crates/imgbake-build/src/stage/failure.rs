//! How a build ends that did not come to its end.

use imgbake_types::record::VersionView;

use super::context::Log;
use crate::{BuildError, Machine};

/// A build that failed, with what it leaves: machines that still run, for the user to look at.
pub struct Failure {
    /// Why.
    pub error: BuildError,
    /// The machine that failed, or the clones that did. Whoever takes the failure ends them.
    pub machines: Vec<Box<dyn Machine>>,
    /// The version, if one was published before the failure.
    pub version: Option<Box<VersionView>>,
    /// What the stages before the failure took, where it was in one of them.
    pub stages: Log,
}

impl Failure {
    /// A failure that leaves a machine.
    pub(super) fn with(machine: Box<dyn Machine>) -> impl FnOnce(BuildError) -> Self {
        |error| Self { error, machines: vec![machine], version: None, stages: Log::new() }
    }
}

impl<E: Into<BuildError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), machines: Vec::new(), version: None, stages: Log::new() }
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failure").field("error", &self.error).finish_non_exhaustive()
    }
}

//! What a verify works on.

use imgbake_runtime::Job;
use imgbake_types::record::VersionView;

use crate::{Builder, Registry, Slots};

/// What a verify works on.
#[derive(Clone, Copy)]
pub struct VerifyRequest<'a> {
    /// The running job.
    pub job: &'a Job,
    /// Makes the clones.
    pub builder: &'a dyn Builder,
    /// Holds the version.
    pub registry: &'a dyn Registry,
    /// The version, with its proof.
    pub version: &'a VersionView,
    /// The machines that may run at once. Whoever verifies holds the slot of the first clone.
    pub slots: &'a Slots,
}

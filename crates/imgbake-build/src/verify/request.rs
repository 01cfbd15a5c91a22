//! What a verify works on.

use camino::Utf8PathBuf;
use imgbake_runtime::Job;
use imgbake_types::record::VersionView;

use crate::stage::Rescue;
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
    /// What the build's extra disks hold, where they are still there: qcow2 images, the first disk's first.
    pub extra_disks: &'a [Utf8PathBuf],
    /// What happens with clones once they were checked.
    pub aftercare: Aftercare<'a>,
}

/// What happens with a clone once it was checked.
#[derive(Clone, Copy)]
pub enum Aftercare<'a> {
    /// It ends.
    End,
    /// One that failed runs on, and is given to the caller.
    KeepFailed,
    /// The first one runs on whatever it showed, and so does one that failed.
    Keep,
    /// The user is let into one that failed; then it ends.
    Enter(&'a dyn Rescue),
}

//! Where a machine's disk comes from.

use async_trait::async_trait;
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::plan::Source;
use imgbake_types::{Arch, Digest};

use crate::{BaseDisk, BuildError};

/// What a source step is given.
#[derive(Debug)]
pub struct SourceContext<'a> {
    /// The running job; its work folder is where a disk is made that nothing keeps.
    pub job: &'a Job,
    /// The step's key: identifiers that must be the same for the same inputs derive from it.
    pub key: &'a Digest,
    /// The image's architecture.
    pub arch: Arch,
    /// Progress goes here.
    pub stage: &'a StageGuard,
}

/// What a source is right now, beside what the template says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// What the template says decides the disk.
    Fixed,
    /// Its name may come to mean something else; this text changes when it does: the digest behind
    /// `image = "base:prod"`, or that of a distribution's package indices.
    Now(String),
    /// Nobody knows, and why: the disk is fetched in every build.
    Unknown(String),
}

/// Fetches one kind of source.
#[async_trait]
pub trait SourceProvider: Send + Sync {
    /// Whether it fetches this source.
    fn knows(&self, source: &Source) -> bool;

    /// Whether this machine has what the source needs. No side effects.
    fn check(&self, source: &Source) -> Result<(), BuildError>;

    /// Shows what the source is right now, before the plan is made. Cheap: no disk is read.
    ///
    /// # Errors
    /// It could not be asked; the message shows whom.
    async fn pin(&self, job: &Job, source: &Source, arch: Arch) -> Result<Pin, BuildError>;

    /// Gets the disk.
    async fn fetch(
        &self,
        context: &SourceContext<'_>,
        source: &Source,
    ) -> Result<BaseDisk, BuildError>;
}

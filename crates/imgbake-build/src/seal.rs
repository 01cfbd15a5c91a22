//! Taking identity and secrets out of a machine.

use std::time::Duration;

use async_trait::async_trait;
use imgbake_comm::Communicator;
use imgbake_runtime::Job;
use imgbake_types::record::SealRecord;
use imgbake_types::spec::SealSpec;
use serde::{Deserialize, Serialize};

use crate::capture::Tap;
use crate::{BuildError, Machine, Seed};

/// One seal operation, as `imgbake plan` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Its name: what `[seal] skip` and `also` take.
    pub name: &'static str,
    /// What it takes out, in a few words.
    pub about: &'static str,
    /// Whether it runs unless it is skipped.
    pub default: bool,
}

/// Bytes that must not be in a captured image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// What they are: `canary in /tmp`, `secret token`, `ssh host key of the build`.
    pub name: String,
    /// The bytes, at least six.
    pub bytes: Vec<u8>,
    /// A secret or key of this build: a hit fails the build even where residues only warn.
    #[serde(rename = "grave")]
    pub severe: bool,
}

/// What planting left to remember of a machine until it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Planted {
    /// What must not be found later: canaries and identities.
    pub patterns: Vec<Pattern>,
    /// The `resolv.conf` that the machine's boot wrote: what is as found is not the image's own.
    pub resolv_conf: String,
}

/// What sealing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealReport {
    /// What each operation removed: a version keeps it.
    pub record: SealRecord,
    /// What must not be in the captured bytes: canaries and the build machine's identities. The
    /// runner adds the job's secrets and the seed's keys.
    pub residues: Vec<Pattern>,
}

/// What sealing is given beside the machine.
pub struct SealContext<'a> {
    /// The running job.
    pub job: &'a Job,
    /// `[seal]`
    pub spec: &'a SealSpec,
    /// What let the build in.
    pub seed: &'a Seed,
    /// What planting left to remember.
    pub planted: &'a Planted,
    /// How long powering off may take.
    pub power_off_limit: Duration,
}

/// Takes identity and secrets out of a machine and powers it off.
#[async_trait]
pub trait Sealer: Send + Sync {
    /// Every operation there is.
    fn operations(&self) -> &'static [Operation];

    /// Patterns of paths that differ in two machines of one image: what is planted, and the identities that sealing
    /// removes. `*` stands for anything.
    fn own_paths(&self) -> Vec<&'static str>;

    /// Searches a disk's bytes for patterns while they are captured.
    fn scanner(&self, patterns: Vec<Pattern>) -> Box<dyn Tap>;

    /// Plants canaries in a machine that was just booted. What the template skips is neither planted
    /// nor looked for.
    async fn plant(
        &self,
        job: &Job,
        spec: &SealSpec,
        seed: &Seed,
        comm: &dyn Communicator,
    ) -> Result<Planted, BuildError>;

    /// Seals the machine. It is off when this returns.
    async fn seal(
        &self,
        context: &SealContext<'_>,
        machine: &mut dyn Machine,
        comm: &dyn Communicator,
    ) -> Result<SealReport, BuildError>;
}

//! What changes a machine.

use async_trait::async_trait;
use imgbake_comm::Communicator;
use imgbake_runtime::Job;
use imgbake_types::spec::ProvisionSpec;

use crate::BuildError;

/// What a provision step is given.
pub struct StepContext<'a> {
    /// The running job.
    pub job: &'a Job,
    /// The step's name; its output is shown under it.
    pub name: &'a str,
    /// What the template says. Sensitive values are markers: reveal them at the last moment.
    pub spec: &'a ProvisionSpec,
    /// The way into the machine.
    pub comm: &'a dyn Communicator,
}

/// How a provision step left the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEnd {
    /// Running.
    Running,
    /// Restarting, as the step said it would.
    Restarting,
}

/// A room that knows one or more kinds of provision step.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// Whether this room knows the step.
    fn knows(&self, spec: &ProvisionSpec) -> bool;

    /// Runs the step; gives how it left the machine and the bytes that it moved.
    async fn provision(&self, context: &StepContext<'_>) -> Result<(StepEnd, u64), BuildError>;
}

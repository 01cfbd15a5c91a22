//! The user in a machine whose step failed.

use async_trait::async_trait;

use crate::{Access, BuildError};

/// Lets the user into a machine whose step failed.
#[async_trait]
pub trait Rescue: Send + Sync {
    /// Opens a session in the machine and asks what to do once it ends.
    async fn enter(&self, step: &str, error: &BuildError, access: &Access) -> Rescued;

    /// Opens a session in a clone that failed a check; nothing is asked after it.
    async fn look(&self, check: &str, error: &BuildError, access: &Access);
}

/// What the user chose after having been in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescued {
    /// The step runs again, in the machine as it is.
    Retry,
    /// The build fails.
    GiveUp,
}

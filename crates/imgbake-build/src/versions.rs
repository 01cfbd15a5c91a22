//! The versions of one image, wherever it is stored.

use async_trait::async_trait;
use imgbake_types::Target;
use imgbake_types::record::{ListedVersion, VersionView};

use crate::BuildError;

/// The versions of one image, in a local layout or a registry's repository.
#[async_trait]
pub trait Versions: Send + Sync {
    /// All of them, each with its channels. One that cannot be read is listed as such.
    ///
    /// # Errors
    /// The store cannot be read.
    async fn versions(&self) -> Result<Vec<ListedVersion>, BuildError>;

    /// The version that a target means; without one the newest, where the store knows which that is.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    async fn version(&self, target: Option<&Target>) -> Result<VersionView, BuildError>;
}

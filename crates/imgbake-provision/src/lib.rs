//! The provisioners: shell and file.

mod error;
mod file;
mod shell;

use std::sync::Arc;

use imgbake_build::Provisioner;
use imgbake_types::spec::ProvisionerKind;

pub use file::{Direction, FileCopy, FileSpec};
pub use shell::{Reboot, RetrySpec, Shell, ShellSpec};

/// Every provisioner.
pub fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    vec![Arc::new(Shell), Arc::new(FileCopy)]
}

/// The kinds of every provisioner.
pub fn kinds() -> Vec<ProvisionerKind> {
    provisioners().iter().map(|provisioner| provisioner.kind()).collect()
}

//! The provisioners: shell, file, ansible and cloud-init.

mod ansible;
mod cloud_init;
mod error;
mod file;
#[expect(dead_code, unused_imports, reason = "its kinds come next")]
mod guest;
mod shell;

use std::sync::Arc;

use imgbake_build::Provisioner;
use imgbake_types::spec::ProvisionerKind;

pub use ansible::{Ansible, AnsibleSpec};
pub use cloud_init::{CloudInit, CloudInitSpec};
pub use file::{Direction, FileCopy, FileSpec};
pub use guest::{Install, InstallSpec};
pub use shell::{Reboot, RetrySpec, Shell, ShellSpec};

/// Every provisioner.
pub fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    vec![Arc::new(Shell), Arc::new(FileCopy), Arc::new(Ansible), Arc::new(CloudInit)]
}

/// The kinds of every provisioner.
pub fn kinds() -> Vec<ProvisionerKind> {
    provisioners().iter().map(|provisioner| provisioner.kind()).collect()
}

//! The provisioners: shell, file and ansible.

mod ansible;
mod error;
mod file;
#[expect(dead_code, unused_imports, reason = "its kinds come next")]
mod guest;
mod shell;

use std::sync::Arc;

use imgbake_build::Provisioner;
use imgbake_types::spec::ProvisionerKind;

pub use ansible::{Ansible, AnsibleSpec};
pub use file::{Direction, FileCopy, FileSpec};
pub use guest::{Install, InstallSpec};
pub use shell::{Reboot, RetrySpec, Shell, ShellSpec};

/// Every provisioner.
pub fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    vec![Arc::new(Shell), Arc::new(FileCopy), Arc::new(Ansible)]
}

/// The kinds of every provisioner.
pub fn kinds() -> Vec<ProvisionerKind> {
    provisioners().iter().map(|provisioner| provisioner.kind()).collect()
}

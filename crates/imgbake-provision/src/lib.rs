//! The provisioners: shell, file, ansible, and steps that need no tool in the machine.

mod ansible;
mod error;
mod file;
mod guest;
mod native;
mod shell;

use std::sync::Arc;

use imgbake_build::Provisioner;
use imgbake_types::spec::ProvisionerKind;

pub use ansible::{Ansible, AnsibleSpec};
pub use file::{Direction, FileCopy, FileSpec};
pub use native::{
    CertificateSpec, FileEntry, FilesSpec, LocaleSpec, PackagesSpec, RepositorySpec, ServiceSpec,
    Sudo, SysctlSpec, UserSpec,
};
pub use shell::{Reboot, RetrySpec, Shell, ShellSpec};

/// Every provisioner.
pub fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    let mut all: Vec<Arc<dyn Provisioner>> =
        vec![Arc::new(Shell), Arc::new(FileCopy), Arc::new(Ansible)];
    all.extend(native::provisioners());
    all
}

/// The kinds of every provisioner.
pub fn kinds() -> Vec<ProvisionerKind> {
    provisioners().iter().map(|provisioner| provisioner.kind()).collect()
}

//! The provisioners: shell, file, ansible and puppet.

mod ansible;
mod error;
mod file;
#[expect(dead_code, unused_imports, reason = "its kinds come next")]
mod guest;
mod puppet;
mod shell;

use std::sync::Arc;

use imgbake_build::Provisioner;
use imgbake_types::spec::ProvisionerKind;

pub use ansible::{Ansible, AnsibleSpec};
pub use file::{Direction, FileCopy, FileSpec};
pub use puppet::{Puppet, PuppetAgent, PuppetAgentSpec, PuppetSpec};
pub use shell::{Reboot, RetrySpec, Shell, ShellSpec};

/// Every provisioner.
pub fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    vec![
        Arc::new(Shell),
        Arc::new(FileCopy),
        Arc::new(Ansible),
        Arc::new(Puppet),
        Arc::new(PuppetAgent),
    ]
}

/// The kinds of every provisioner.
pub fn kinds() -> Vec<ProvisionerKind> {
    provisioners().iter().map(|provisioner| provisioner.kind()).collect()
}

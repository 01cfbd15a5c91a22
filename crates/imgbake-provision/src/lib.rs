//! The provisioners.

mod ansible;
mod chef;
mod cloud_init;
mod error;
mod file;
mod guest;
mod host;
mod native;
mod puppet;
mod salt;
mod shell;

use std::sync::Arc;

use imgbake_build::Provisioner;
use imgbake_types::spec::ProvisionerKind;

pub use ansible::{Ansible, AnsibleLocal, AnsibleLocalSpec, AnsibleSpec};
pub use chef::{Chef, ChefSpec};
pub use cloud_init::{CloudInit, CloudInitSpec};
pub use file::{Direction, FileCopy, FileSpec};
pub use guest::{Install, InstallSpec};
pub use native::{
    CertificateSpec, FileEntry, FilesSpec, LocaleSpec, PackagesSpec, RepositorySpec, ServiceSpec,
    Sudo, SysctlSpec, UserSpec,
};
pub use puppet::{Puppet, PuppetAgent, PuppetAgentSpec, PuppetSpec};
pub use salt::{Salt, SaltSpec};
pub use shell::{Reboot, RetrySpec, Shell, ShellSpec};

/// Every provisioner.
pub fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    let mut all: Vec<Arc<dyn Provisioner>> = vec![
        Arc::new(Shell),
        Arc::new(FileCopy),
        Arc::new(Ansible),
        Arc::new(AnsibleLocal),
        Arc::new(Puppet),
        Arc::new(PuppetAgent),
        Arc::new(Salt),
        Arc::new(Chef),
        Arc::new(CloudInit),
    ];
    all.extend(native::provisioners());
    all
}

/// The kinds of every provisioner.
pub fn kinds() -> Vec<ProvisionerKind> {
    provisioners().iter().map(|provisioner| provisioner.kind()).collect()
}

//! `type = "ansible"` and `type = "ansible-local"`

mod connection;
mod events;
mod files;
mod local_files;
mod local_run;
mod local_spec;
mod run;
mod spec;

pub use local_run::AnsibleLocal;
pub use local_spec::AnsibleLocalSpec;
pub use run::Ansible;
pub use spec::AnsibleSpec;

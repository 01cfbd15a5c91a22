//! `type = "ansible"`

mod events;
mod files;
mod run;
mod spec;

pub use run::Ansible;
pub use spec::AnsibleSpec;

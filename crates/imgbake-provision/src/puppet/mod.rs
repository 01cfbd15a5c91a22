//! `type = "puppet"` and `type = "puppet-agent"`

mod agent;
mod apply;
mod run;
mod spec;
mod staged;

pub use agent::PuppetAgent;
pub use apply::Puppet;
pub use spec::{PuppetAgentSpec, PuppetSpec};

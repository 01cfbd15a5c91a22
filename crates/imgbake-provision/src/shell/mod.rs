//! `type = "shell"`: runs a script or commands in the machine.

mod rules;
mod run;
mod script;
mod spec;

pub use run::Shell;
pub(crate) use script::Script;
pub use spec::{Reboot, RetrySpec, ShellSpec};

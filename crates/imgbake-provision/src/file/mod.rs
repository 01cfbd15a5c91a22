//! `type = "file"`: moves files between the host and the machine.

mod rules;
mod run;
mod spec;

pub use run::FileCopy;
pub use spec::{Direction, FileSpec};

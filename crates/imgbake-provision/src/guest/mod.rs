//! Programs that run in the machine as part of a step, and report what they did there.

mod copies;
mod dry;
mod files;
pub(crate) mod install;
mod program;
mod results;

pub(crate) use copies::Copies;
pub(crate) use dry::DryRun;
pub(crate) use files::{Folder, revealed, run_id, step_name};
pub use install::{Install, InstallSpec};
pub(crate) use program::{Ended, Program, assignments};
pub(crate) use results::{End, Results};

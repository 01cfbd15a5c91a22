//! Programs that run in the machine as part of a step, and report what they did there.

mod copies;
mod dry;
mod files;
mod install;
mod program;
mod results;
mod tool;
mod tool_step;

use imgbake_types::Span;

pub(crate) use copies::Copies;
pub(crate) use dry::DryRun;
pub(crate) use files::{Folder, revealed, run_id, step_name};
pub use install::{Install, InstallSpec};
pub(crate) use program::{Ended, Program, assignments};
pub(crate) use results::{End, ExitCodes, Results};
pub(crate) use tool::Tool;
pub(crate) use tool_step::ToolStep;

/// How long a step may take that does not say.
pub(crate) const TIMEOUT: Span = Span::secs(3600);

/// What reads YAML in the machine.
pub(crate) const READ_YAML: &str = include_str!("yaml.sh");
/// The exit code of what reads YAML, in the machine and on the host, where a text is none.
pub(crate) const NOT_YAML: i32 = 65;

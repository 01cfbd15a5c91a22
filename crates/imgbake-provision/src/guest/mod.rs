//! Programs that run in the machine as part of a step, and tell what they did there.

mod files;
mod program;
mod results;

pub(crate) use files::Folder;
pub(crate) use program::Program;
pub(crate) use results::Results;

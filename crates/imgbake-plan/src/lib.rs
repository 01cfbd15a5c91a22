//! A template with its variables filled in becomes a plan with a key for each step.
//!
//! [`plan`] is pure but for what it asks of a [`FileHasher`]; [`FsHasher`] is the one that reads the
//! host's files.

mod error;
mod key;
mod load;
mod paths;
mod plan;
mod source;

pub use error::PlanError;
pub use load::FsHasher;
pub use plan::{FileHasher, Request, plan};

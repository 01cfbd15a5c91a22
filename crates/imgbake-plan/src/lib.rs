//! A template with its variables filled in becomes a plan with a key for each step.
//!
//! [`plan`] is pure but for what it asks of a [`FileHasher`]; [`FsHasher`] is the one that reads the
//! host's files. [`difference`] shows why a step's key is not that of an earlier plan.

mod difference;
mod digest_cache;
mod error;
mod fixed;
mod key;
mod load;
mod paths;
mod plan;
mod provision;
mod source;

pub use difference::{difference, differences};
pub use error::PlanError;
pub use load::{FsHasher, ReadAttributes};
pub use plan::{FileHasher, Request, plan};

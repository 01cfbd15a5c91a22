//! `type = "chef"`

mod files;
mod run;
mod spec;

pub use run::Chef;
pub use spec::ChefSpec;

//! `type = "salt"`

mod results;
mod run;
mod spec;

pub use run::Salt;
pub use spec::SaltSpec;

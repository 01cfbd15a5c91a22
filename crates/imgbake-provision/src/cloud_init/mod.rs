//! `type = "cloud-init"`

mod results;
mod run;
mod spec;
mod user_data;

pub use run::CloudInit;
pub use spec::CloudInitSpec;

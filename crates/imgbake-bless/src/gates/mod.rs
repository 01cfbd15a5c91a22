//! The gates: each a rule of its own.

mod age;
mod converged;
mod growth;
mod origin;
mod sealed;
mod verified;

pub(crate) use age::MaxAge;
pub(crate) use converged::Converged;
pub(crate) use growth::MaxGrowth;
pub(crate) use origin::{From, Soak};
pub(crate) use sealed::Sealed;
pub use verified::Verified;

//! Gates and promotion rules: which version a channel may point at.
//!
//! A [`Gate`] looks at one version and says whether a channel may point at it; [`promote`] asks every
//! gate before it moves anything. A channel's history is the registry's
//! ([`imgbake_build::Registry::history`]).

mod gate;
mod promote;

pub use gate::{Gate, Refusal, Verified};
pub use promote::{Promotion, promote};

//! Gates and promotion rules: which version a channel may point at.
//!
//! A [`Gate`] looks at one version and says whether a channel may point at it. [`promote`] and
//! [`rollback`] read where the channel is, ask every gate, compose the record of the move and have the
//! store compare and swap ([`imgbake_build::Channels`]). [`ChannelRules`] name the gates of a channel; [`keys`] sign its
//! moves, and [`trust`] says whose signatures count.

mod dsse;
mod gate;
mod gates;
pub mod keys;
mod moving;
mod percent;
mod promote;
mod rollback;
mod rules;
pub mod trust;

pub use gate::{Answer, Candidate, Gate};
pub use gates::Verified;
pub use moving::{MoveRequest, Promotion};
pub use percent::Percent;
pub use promote::promote;
pub use rollback::rollback;
pub use rules::{ChannelRules, Required};

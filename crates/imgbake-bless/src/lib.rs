//! Gates and promotion rules: which version a channel may point at.
//!
//! A [`Gate`] looks at one version and says whether a channel may point at it. [`promote`] and
//! [`rollback`] read where the channel is, ask every gate, compose the record of the move and have the
//! store compare and swap ([`imgbake_build::Channels`]).

mod gate;
mod moving;
mod promote;
mod rollback;

pub use gate::{Answer, Candidate, Gate, Verified};
pub use moving::{MoveRequest, Promotion};
pub use promote::promote;
pub use rollback::rollback;

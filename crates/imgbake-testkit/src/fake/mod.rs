//! A builder whose machines are kept in memory: it bakes in milliseconds, and does what a test asks for
//! to, failures above all.
//!
//! A [`FakeBuilder`] makes machines whose guest answers by rules ([`FakeBuilder::on`]); what no rule is
//! about succeeds, and the scripts that imgbake itself runs in a guest are answered as a sound guest
//! would. Every other script leaves its mark on the machine's disk.

mod builder;
mod comm;
mod disk;
mod features;
mod guest;
mod machine;
mod native;
mod world;

pub use builder::{FakeBuilder, FakeSpec};
pub use features::Features;
pub use guest::{Answer, Effect};
pub use world::FakeWorld;

//! The imgbake program on real guests. One test program: it is linked once, and two tests run at a time.

#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod conformance;
mod converge;
mod debian;
mod debian_converge;
mod first_week;
mod flow;
mod kills;
mod layers;
mod layers_bad;
mod layers_kills;
mod layers_many;
mod layers_same;
mod layers_shared;
mod machines;
mod records;
mod refusals;
mod registries;

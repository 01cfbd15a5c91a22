//! What the end-to-end tests stand on: a home of their own, the `imgbake` program, the tiny guest.
//!
//! Everything here panics when it cannot do its work: a test that lacks its ground has failed.
#![expect(clippy::disallowed_methods, reason = "tests run the program and its users' tools")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod guest;
mod home;
mod turns;

pub use guest::{tiny_guest, tiny_template};
pub use home::{Run, TestHome, program, run_tool};
pub use turns::{Turn, turn};

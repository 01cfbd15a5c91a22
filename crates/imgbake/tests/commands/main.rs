//! What a user sees of every command: its output when it works, and when it does not. The pictures are in
//! `snapshots/`; after a change that is wanted: `INSTA_UPDATE=always cargo test -p imgbake --test commands`.
#![expect(clippy::disallowed_methods, reason = "tests run the program")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod build;
mod channels;
mod local;
mod registries;
mod session;
mod versions;

//! Registries as `imgbake` meets them: one in this process with every bad habit, and the real one of
//! Debian's package.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod channels;
mod conformance;
mod copies;
mod docker;
mod fixture;
mod full;
mod habits;
mod hostile;
mod identity;
mod kills;
mod logins;
mod many;
mod odd;
mod pulls;
mod shared;
mod signed;
mod stored;

//! The communicator against a real OpenSSH server and hostile ones, all on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure there is the test's")]

mod commands;
mod connect;
mod support;
mod transfer;

//! The provisioners, in a machine that is this host: its commands run by a local `sh`.

#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure there is the test's")]

mod ansible;
mod ansible_local;
mod ansible_ssh;
mod chef;
mod cloud_init;
mod dry;
mod file;
mod local;
mod native;
mod puppet;
mod reports;
mod salt;
mod shell;

//! The layer cache on real files, with real locks, among real processes.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod common;
mod damage;
mod full;
mod layers;
mod processes;
mod prune;
mod sequences;
mod unusable;

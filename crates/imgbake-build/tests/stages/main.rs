//! The stages and the walk through the layers, with machines in memory: each stage succeeds, fails, is
//! interrupted, loses its machine and fills the disk.

#![cfg(test)]

mod common;
mod compared;
mod conformance;
mod converge;
mod disposable;
mod each;
mod native;
mod slots;
mod walk;

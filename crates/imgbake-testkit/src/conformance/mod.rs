//! Suites that every implementation of a trait must pass: what it promises, tested through it alone.

mod machines;
mod stores;

pub use machines::{Subject, builder};
pub use stores::image;

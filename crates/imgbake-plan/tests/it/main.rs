//! What a plan holds, and what changes its keys.

mod common;
mod difference;
mod keys;
mod load;
mod shape;

//! The scripts, run by dash and by busybox on a tree that stands for a machine.

mod first;
mod flow;
mod late;
mod planting;
mod tools;
mod tree;

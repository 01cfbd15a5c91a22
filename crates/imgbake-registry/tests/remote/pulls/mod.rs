//! Disks straight from registries.

pub(crate) mod disks;
mod hostile;
mod repair;
mod resumed;
mod sources;

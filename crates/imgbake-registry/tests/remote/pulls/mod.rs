//! Disks straight from registries.

pub(crate) mod disks;
mod hostile;
mod resumed;
mod sources;
mod spare;

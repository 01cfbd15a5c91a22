//! Disks straight from registries.

mod disks;
mod hostile;
mod resumed;
mod sources;
mod spare;

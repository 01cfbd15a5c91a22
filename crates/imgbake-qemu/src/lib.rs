//! The QEMU builder: argv, QMP, firmware, the proof of KVM.
//!
//! [`QemuBuilder`] makes machines. What decides anything is pure and apart from what does it: the
//! command line ([`argv`]), what a machine's events mean ([`state`]), the choice of firmware
//! ([`firmware`]), a boot loader's configuration ([`grub`]).

pub mod accel;
pub mod argv;
pub mod builder;
mod console;
pub mod firmware;
pub mod grub;
mod kernel;
mod launch;
mod machine;
mod probe;
pub mod qmp;
mod saved;
pub mod state;

pub use accel::Verdict;
pub use builder::QemuBuilder;

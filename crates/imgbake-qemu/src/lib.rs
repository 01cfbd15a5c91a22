//! The QEMU builder: argv, QMP, firmware, the proof of KVM.
//!
//! [`QemuBuilder`] makes machines. What decides anything is pure and apart from what does it: the
//! command line ([`argv`]), what a machine's events mean ([`state`]), the choice of firmware
//! ([`firmware`]), a boot loader's configuration ([`grub`]).
//!
//! A running machine can be saved (`save`, `migrate`) and goes on in another process, as often as
//! wanted. It must be made by the same command line there, on the same QEMU: `signature` tells what that
//! depends on.

pub mod accel;
pub mod argv;
pub mod builder;
mod console;
pub mod firmware;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod grub;
mod kernel;
mod launch;
mod machine;
mod migrate;
mod probe;
pub mod qmp;
mod save;
mod saves;
mod signature;
pub mod state;
mod watch;

pub use accel::Verdict;
pub use builder::QemuBuilder;

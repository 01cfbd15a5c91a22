//! The QEMU builder: argv, QMP, firmware, the proof of KVM.
//!
//! [`QemuBuilder`] makes machines. What decides anything is pure and apart from what does it: the
//! command line ([`argv`]), what a machine's events mean ([`state`]), the choice of firmware
//! ([`firmware`]), a boot loader's configuration ([`grub`]), the credentials by which a machine
//! accepts the build's login (`credentials`).
//!
//! A running machine can be saved (`save`, `migrate`) and resumes in another process, as often as
//! wanted. It must be made by the same command line there, on the same QEMU: `signature` says what that
//! depends on.

pub mod accel;
pub mod argv;
pub mod boots;
mod builder;
mod console;
mod credentials;
mod disks;
mod error;
mod files;
pub mod firmware;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod grub;
mod kernel;
mod launch;
mod login;
mod machine;
mod migrate;
mod probe;
pub mod qmp;
mod save;
mod saves;
mod signature;
mod spec;
mod start;
pub mod state;
mod system;
mod volumes;
mod watch;

pub use accel::Verdict;
pub use builder::QemuBuilder;
pub use error::QemuError;
pub use spec::{Accel, Boot, KIND, QemuSpec};

//! Takes identity and secrets out of a machine, and proves on the captured bytes that they are out.
//!
//! # Two phases
//! The first runs all operations over ssh and reports them. The machine is then asked to power off, which
//! writes some of it again (random seed, journal, clock, leases). So the first phase leaves a hook for
//! systemd-shutdown(8), which starts it when every process has ended: it repeats those operations,
//! removes itself, trims free blocks and wipes the file systems' journals, makes `/` read-only and
//! reports on the console. A machine that powers off without that report was not sealed, and is an error.
//!
//! # Whose files stay
//! The seal removes what a build or a running machine leaves, not what a provisioner made:
//! - The host name, `/etc/hosts` and `/etc/resolv.conf` are put back unless a provisioner changed them.
//!   A name that is not the seed's stays; the seed's becomes `localhost`. Of `/etc/hosts` only the
//!   seed's name is removed. A resolv.conf is emptied only if it is, byte for byte, the one that this
//!   machine's boot wrote; a link stays.
//! - Log files are emptied and keep owner and mode; folders stay.
//! - Of `authorized_keys` only lines with the build's key go, and a file of which nothing is left.
//! - cloud-init's scripts and handlers stay: people put them there.
//! - Package sources go only where they say `# imgbake: build-only`, or a `repository` step made them so.
//! - A tool that a step's `install` brought goes with the packages that nothing else needs. What a step installed by
//!   name stays.
//! - Of Puppet, Salt, Chef and Ansible go keys, ids, caches and reports. Their configuration, code and facts stay.
//! - Swap files that fstab names are made anew.
//!
//! Where a rule takes too much, its operation is skipped by name: `[seal] skip = ["proxies"]`.
//!
//! # What it needs
//! A guest with systemd or an init that runs its shutdown hooks; a disk that honours discards down to
//! the file system's block (a qcow2 overlay drops those smaller than its cluster: 4 KiB, not 64); perl or
//! python3 in the guest to wipe an ext4 journal, where names of deleted files would stay.

mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod operations;
mod phases;
mod plant;
mod report;
mod scan;
mod script;
#[cfg(test)]
mod tests;

pub use error::{SealError, ShellExit};
pub use operations::{LEFT, Selection, check};
pub use phases::GuestSealer;
pub use scan::ResidueScanner;

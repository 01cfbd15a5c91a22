//! Machines: a core that every builder's has, and what some can do beside it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_comm::Communicator;
use imgbake_disk::{DiskFormat, DiskSource};

use crate::{BuildError, NativeDisk};

/// One running guest.
///
/// What not every builder's machines can do is a capability: a method that gives `None` unless the
/// machine has it.
#[async_trait]
pub trait Machine: Send + Sync {
    /// Its name, as requested.
    fn name(&self) -> &str;

    /// Waits until the guest answers with the seed's host key and accepts the seed's user key. Fails at
    /// once when the machine panics, stops or restarts before that; the error holds the console's last
    /// lines and what was waited for.
    async fn connect(&mut self, limit: Duration) -> Result<Arc<dyn Communicator>, BuildError>;

    /// Whether the program that runs the machine was ended by a signal: by a fault of its own, or by the
    /// host.
    fn crashed(&self) -> bool;

    /// Ends when the machine does something nobody asked for: it panics, restarts while no restart is
    /// expected, powers off while no end is expected, or its disk cannot be written.
    async fn failure(&self) -> BuildError;

    /// From now on, one restart is expected; the machine is distinguished from before by its count.
    fn expect_restart(&mut self);

    /// Waits for the restart that was expected. The old connection is of no use after it.
    async fn restarted(&mut self, limit: Duration) -> Result<(), BuildError>;

    /// From now on, powering off is expected.
    fn expect_power_off(&mut self);

    /// Waits until the machine is off and its disk is written.
    async fn powered_off(&mut self, limit: Duration) -> Result<(), BuildError>;

    /// What the console showed so far, redacted; at most the last megabyte.
    fn console(&self) -> String;

    /// How a person reaches it.
    fn access(&self) -> Access;

    /// Lets the machine outlive this process, for `--on-error keep`.
    fn keep(&mut self);

    /// Ends the machine now, whatever it does. Ending one that is off is no error.
    async fn end(&mut self);

    /// Its disk, where this host can read it. Read it only once the machine is off.
    fn disk(&self) -> Option<MachineDisk> {
        None
    }

    /// What its extra disks hold, as [`crate::LocalDisk::extra`] has it. Read it only once the machine is off.
    fn extra_disks(&self) -> Vec<Utf8PathBuf> {
        Vec::new()
    }

    /// Freezes its disk while it runs. A machine that started from a native disk cannot.
    fn freeze(&mut self) -> Option<&mut dyn FreezeDisk> {
        None
    }

    /// Saves disk and memory while it runs, so that another machine resumes from them.
    fn save(&mut self) -> Option<&mut dyn SaveMachine> {
        None
    }

    /// Copies its disk, while it runs, to a native disk of its builder.
    fn snapshot(&self) -> Option<&dyn SnapshotMachine> {
        None
    }
}

/// A machine that can freeze its disk.
#[async_trait]
pub trait FreezeDisk: Send + Sync {
    /// Moves what the disk holds now to a file, on the same file system, whose parent is the disk that
    /// the machine started from; the guest resumes at once and writes to a new overlay on it. What the
    /// guest has not written to its disk is not on the frozen one. What its extra disks hold goes to files
    /// beside it ([`crate::extra_beside`]).
    ///
    /// # Errors
    /// The disk could not be frozen; the machine runs as if nothing had been asked.
    async fn freeze_to(&mut self, disk: &Utf8Path) -> Result<(), BuildError>;
}

/// A machine that can be saved with its memory.
#[async_trait]
pub trait SaveMachine: FreezeDisk {
    /// Freezes the disk as [`FreezeDisk::freeze_to`] does, and writes memory and devices of the same
    /// moment to a new file. Gives whether the state was written, or why not: then the disk is frozen
    /// all the same.
    ///
    /// # Errors
    /// The disk could not be frozen; the machine runs as if nothing had been asked.
    async fn save_to(
        &mut self,
        disk: &Utf8Path,
        state: &Utf8Path,
    ) -> Result<Result<(), String>, BuildError>;
}

/// A machine whose builder copies disks itself, where it keeps them.
#[async_trait]
pub trait SnapshotMachine: Send + Sync {
    /// Copies what the disk holds now to a native disk, from which a later machine of the same builder
    /// boots. What the guest has not written to its disk is not on it. It belongs to the job: the builder
    /// enters it in the journal before it is made, and its cleaner removes it once the job is over.
    ///
    /// # Errors
    /// It cannot be made; the machine runs as if nothing had been asked.
    async fn snapshot_disk(&self) -> Result<NativeDisk, BuildError>;
}

/// A machine's disk that this host can read.
#[derive(Clone)]
pub enum MachineDisk {
    /// An image file of this host.
    File {
        /// Where it is.
        path: Utf8PathBuf,
        /// Its format.
        format: DiskFormat,
    },
    /// Bytes that the builder reads, wherever they are.
    Source(Arc<dyn DiskSource>),
}

/// What a person needs to reach a machine over ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The file of the user's private key.
    pub key: Utf8PathBuf,
    /// The machine's public host key, as OpenSSH writes it: `ssh-ed25519 AAAA…`.
    pub host_key: String,
}

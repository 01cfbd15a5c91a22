//! What is wanted of the chunks of disks at hand.

use camino::Utf8PathBuf;

use super::sink::Sink;
use super::watch::Watch;
use crate::Result;
use crate::seed::{SeedDisk, Uncut};

/// A disk at hand that may have some of the bytes.
#[derive(Debug, Clone)]
pub struct Seed {
    /// A raw or qcow2 file.
    pub path: Utf8PathBuf,
    /// Whether it is an error that it cannot be read.
    pub must: bool,
}

/// Takes what a seed has. Gives bytes of the disk.
pub(super) fn take(seed: &Seed, sink: &Sink<'_>, watch: &Watch) -> Result<u64> {
    let mut taken = 0;
    let cut = SeedDisk::open(&seed.path).map_err(Uncut::Seed).and_then(|disk| {
        disk.cut(&mut |digest, bytes| {
            watch.go_on()?;
            if sink.wants(digest, bytes.len()) {
                taken += sink.put(digest, bytes)?;
            }
            Ok(true)
        })
    });
    match cut {
        Ok(()) => Ok(taken),
        Err(Uncut::Taker(error)) => Err(error),
        Err(Uncut::Seed(error)) if seed.must => Err(error.help(
            "a seed is a raw or qcow2 disk without a backing file; without --seed all comes from the \
             registry",
        )),
        Err(Uncut::Seed(error)) => {
            tracing::warn!(%error, "a disk at hand is not used");
            Ok(taken)
        }
    }
}

//! Disks at hand: cut into chunks as the version's disk was, and what is wanted of them taken.

use imgbake_build::BuildError;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{Cutter, digest};
use imgbake_disk::{DiskImage, DiskSource};

use super::Seed;
use super::sink::Sink;
use super::watch::Watch;
use crate::Result;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;

/// Takes what a seed has. Gives bytes of the disk.
pub(super) fn take(seed: &Seed, sink: &Sink<'_>, watch: &Watch) -> Result<u64> {
    let mut taken = Taken { sink, bytes: 0, failed: None };
    match read(seed, &mut taken, watch) {
        Err(Unread::Seed(error)) if !seed.must => {
            tracing::warn!(%error, "a disk at hand is not used");
        }
        Err(Unread::Seed(error)) => {
            let what = format!("cannot take chunks from {}", seed.path);
            return Err(BuildError::failed(what).because(error).help(
                "a seed is a raw or qcow2 disk without a backing file; without --seed all comes from \
                 the registry",
            ));
        }
        Err(Unread::Other(error)) => return Err(error),
        Ok(()) => {}
    }
    taken.failed.map_or(Ok(taken.bytes), Err)
}

/// What a seed gave.
struct Taken<'a> {
    sink: &'a Sink<'a>,
    bytes: u64,
    failed: Option<BuildError>,
}

impl Taken<'_> {
    fn chunk(&mut self, bytes: &[u8]) {
        let digest = digest(bytes);
        if self.failed.is_none() && self.sink.wants(&digest, bytes.len()) {
            match self.sink.put(&digest, bytes) {
                Ok(written) => self.bytes += written,
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

/// Why reading a seed ended early.
enum Unread {
    Seed(BuildError),
    Other(BuildError),
}

fn read(seed: &Seed, taken: &mut Taken<'_>, watch: &Watch) -> Result<(), Unread> {
    let seed_error = |error| Unread::Seed(disk_error(error));
    let disk = DiskImage::open_flat(&seed.path).map_err(seed_error)?;
    let mut cutter = Cutter::default();
    let mut buffer = Vec::new();
    for extent in disk.extents().map_err(seed_error)? {
        let mut at = extent.offset;
        while at < extent.end() && taken.failed.is_none() {
            watch.go_on().map_err(Unread::Other)?;
            let len = (extent.end() - at).min(PIECE);
            buffer.resize(usize::try_from(len).unwrap_or(0), 0);
            disk.read_at(at, &mut buffer).map_err(seed_error)?;
            cutter.data(at, &buffer, &mut |_, bytes| taken.chunk(bytes));
            at += len;
        }
    }
    cutter.end(&mut |_, bytes| taken.chunk(bytes));
    Ok(())
}

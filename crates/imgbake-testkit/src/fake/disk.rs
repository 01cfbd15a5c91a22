//! A small disk: the one below it, and the clusters that a guest wrote since.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::LocalDisk;
use imgbake_disk::overlay::create_overlay;
use imgbake_disk::{DiskError, DiskFormat, DiskImage, DiskSource, Extent};
use imgbake_types::Digest;

const CLUSTER_BITS: u32 = 12;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// A table of the second level has as many entries: the largest disk that one covers.
const LARGEST: u64 = CLUSTER / 8 * CLUSTER;
/// The first cluster that a script's mark is written to.
const FIRST: u64 = 64;
/// Shows the reader of a qcow2 image that nobody else refers to a cluster (QEMU, `docs/interop/qcow2.rst`).
const COPIED: u64 = 1 << 63;

/// A machine's disk.
#[derive(Debug, Clone)]
pub(super) struct FakeDisk {
    below: Utf8PathBuf,
    format: DiskFormat,
    pub(super) virtual_size: u64,
    written: BTreeMap<u64, Vec<u8>>,
}

impl FakeDisk {
    /// An overlay on a disk.
    pub(super) fn on(disk: &LocalDisk) -> Self {
        Self {
            below: disk.path.clone(),
            format: disk.format,
            virtual_size: disk.virtual_size,
            written: BTreeMap::new(),
        }
    }

    /// The disk, grown to as many bytes.
    pub(super) fn grown_to(mut self, size: u64) -> Self {
        self.virtual_size = self.virtual_size.max(size);
        assert!(self.virtual_size <= LARGEST, "a fake disk has {LARGEST} bytes at most");
        self
    }

    /// Leaves a script's mark: a cluster that its text decides.
    pub(super) fn write(&mut self, text: &str) {
        let mark = Digest::sha256(text).to_string().into_bytes();
        let bytes = mark.iter().copied().cycle().take(1 << CLUSTER_BITS).collect();
        let last = self.virtual_size / CLUSTER - 1;
        let number = FIRST + u64::from(mark[10]) + u64::from(mark[11]);
        self.written.insert(number.min(last), bytes);
    }

    /// Writes what was written since into a new image on the disk below; from now on, that is the disk
    /// below.
    pub(super) fn freeze(&mut self, to: &Utf8Path) -> Result<(), DiskError> {
        create_overlay(to, &self.below, self.format, self.virtual_size, CLUSTER_BITS)?;
        let failed = |error| DiskError::io("cannot write the overlay", error);
        let file =
            OpenOptions::new().read(true).write(true).mode(0o600).open(to).map_err(failed)?;
        let mut field = [0; 8];
        // The offset of the table of the first level.
        file.read_exact_at(&mut field, 40).map_err(failed)?;
        let first = u64::from_be_bytes(field);
        let table = file.metadata().map_err(failed)?.len().next_multiple_of(CLUSTER);
        let mut entries = vec![0; 1 << CLUSTER_BITS];
        for (place, (number, bytes)) in (1..).zip(&self.written) {
            let at = table + place * CLUSTER;
            file.write_all_at(bytes, at).map_err(failed)?;
            let entry = usize::try_from(number * 8).unwrap_or(usize::MAX);
            entries[entry..entry + 8].copy_from_slice(&(at | COPIED).to_be_bytes());
        }
        file.write_all_at(&entries, table).map_err(failed)?;
        file.write_all_at(&(table | COPIED).to_be_bytes(), first).map_err(failed)?;
        self.written.clear();
        (self.below, self.format) = (to.to_owned(), DiskFormat::Qcow2);
        Ok(())
    }

    /// The disk as bytes alone, for a builder whose disks are no files of this host.
    pub(super) fn source(&self) -> Result<Arc<dyn DiskSource>, DiskError> {
        let below = DiskImage::open_as(&self.below, self.format)?;
        Ok(Arc::new(Bytes { below, disk: self.clone() }))
    }
}

#[derive(Debug)]
struct Bytes {
    below: DiskImage,
    disk: FakeDisk,
}

impl DiskSource for Bytes {
    fn virtual_size(&self) -> u64 {
        self.disk.virtual_size
    }

    fn extents(&self) -> Result<Vec<Extent>, DiskError> {
        Ok(vec![Extent { offset: 0, len: self.disk.virtual_size }])
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        self.below.read_at(offset, buf)?;
        let end = offset + buf.len() as u64;
        for (number, bytes) in &self.disk.written {
            let (start, stop) = (number * CLUSTER, (number + 1) * CLUSTER);
            if start < end && stop > offset {
                let (from, to) = (start.max(offset), stop.min(end));
                let index = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
                let part = &bytes[index(from - start)..index(to - start)];
                buf[index(from - offset)..index(to - offset)].copy_from_slice(part);
            }
        }
        Ok(())
    }
}

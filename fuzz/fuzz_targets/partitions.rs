//! GUID partition tables.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::fs;
use std::sync::LazyLock;

use camino::Utf8Path;
use imgbake_disk::gpt::{self, PartitionSpec};
use imgbake_disk::{DiskSource, Extent};
use imgbake_fuzz::{choose, folder, seed, tagged};
use libfuzzer_sys::fuzz_target;

/// The first sectors of a disk: what is not zero of its table.
const HEAD: usize = 2048;

static DISK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = folder();
    let disk = disk(&dir.join("disk.raw"));
    fs::remove_dir_all(dir).unwrap();
    disk
});

fn disk(path: &Utf8Path) -> Vec<u8> {
    fs::write(path, vec![0; 128 << 10]).unwrap();
    let spec = PartitionSpec {
        type_guid: gpt::TYPE_LINUX,
        unique_guid: gpt::guid_from_seed("", "a"),
        name: "a".into(),
        first_lba: 40,
        sectors: 9,
    };
    gpt::write_gpt(path, gpt::guid_from_seed("", "disk"), &[spec]).unwrap();
    fs::read(path).unwrap()
}

fn sound() -> Vec<Vec<u8>> {
    (0..2).map(|choice| tagged(choice, &DISK[..HEAD])).collect()
}

/// A disk in memory.
struct Memory(Vec<u8>);

impl DiskSource for Memory {
    fn virtual_size(&self) -> u64 {
        self.0.len() as u64
    }

    fn extents(&self) -> imgbake_disk::Result<Vec<Extent>> {
        Ok(vec![Extent { offset: 0, len: self.virtual_size() }])
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> imgbake_disk::Result<()> {
        let at = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[at..at + buffer.len()]);
        Ok(())
    }
}

/// Gives the table checksums that hold, so that what lies behind them is reached.
fn seal(disk: &mut [u8]) {
    let number = |disk: &[u8], at: usize| {
        let bytes: [u8; 4] = disk[512 + at..512 + at + 4].try_into().unwrap();
        u32::from_le_bytes(bytes) as usize
    };
    let entries = number(disk, 80).saturating_mul(number(disk, 84));
    let start = number(disk, 72).saturating_mul(512);
    if let Some(entries) = disk.get(start..start.saturating_add(entries)) {
        let sum = crc32fast::hash(entries);
        disk[600..604].copy_from_slice(&sum.to_le_bytes());
    }
    disk[528..532].fill(0);
    if let Some(header) = disk.get(512..512 + number(disk, 12)) {
        let sum = crc32fast::hash(header);
        disk[528..532].copy_from_slice(&sum.to_le_bytes());
    }
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((sealed, head)) = choose(input, 2) else { return };
    let mut disk = DISK.clone();
    let head = &head[..head.len().min(HEAD)];
    disk[..head.len()].copy_from_slice(head);
    if sealed == 1 {
        seal(&mut disk);
    }
    let disk = Memory(disk);
    let Ok(partitions) = gpt::read_partitions(&disk) else { return };
    for partition in partitions {
        assert!(!partition.is_empty());
        assert!(partition.offset() + partition.len() <= disk.virtual_size());
    }
});

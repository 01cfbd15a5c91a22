use std::{fs, os::unix::fs::FileExt as _};

use camino::Utf8Path;

use super::*;
use crate::{DiskErrorKind, DiskImage};

fn spec(name: &str, type_guid: Uuid, first_lba: u64, sectors: u64) -> PartitionSpec {
    let unique_guid = guid_from_seed("test", name);
    PartitionSpec { type_guid, unique_guid, name: name.into(), first_lba, sectors }
}

#[test]
fn writes_what_it_reads_and_keeps_boot_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
    let mut disk = vec![0; 8 << 20];
    disk[..440].fill(0xB0);
    fs::write(&path, &disk).unwrap();
    let specs = [
        spec("bios", TYPE_BIOS_BOOT, 34, 2014),
        spec("EFI-Système", TYPE_ESP, 2048, 4096),
        spec("root", TYPE_ROOT_X86_64, 8192, 16384 - 8192 - 33),
    ];
    write_gpt(&path, guid_from_seed("test", "disk"), &specs).unwrap();
    let image = DiskImage::open(&path).unwrap();
    let found = read_partitions(&image).unwrap();
    for (index, (found, spec)) in found.iter().zip(&specs).enumerate() {
        assert_eq!(found.index as usize, index + 1);
        assert_eq!((&found.name, found.type_guid), (&spec.name, spec.type_guid));
        assert_eq!((found.first_lba, found.sectors), (spec.first_lba, spec.sectors));
        assert_eq!(found.unique_guid, spec.unique_guid);
    }
    assert_eq!(found.len(), 3);
    let head = fs::read(&path).unwrap();
    assert_eq!(head[..440], [0xB0; 440]);
    assert_eq!(head[510..512], [0x55, 0xAA]);

    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[9; 8], 512 + 40).unwrap();
    assert_eq!(read_partitions(&image).unwrap(), found, "the backup serves");
    file.write_all_at(&[9; 8], (8 << 20) - 512 + 40).unwrap();
    assert_eq!(read_partitions(&image).unwrap_err().kind(), DiskErrorKind::Corrupt);
    file.write_all_at(&[0; 512], 512).unwrap();
    assert_eq!(read_partitions(&image).unwrap_err().kind(), DiskErrorKind::Unsupported);
}

#[test]
fn refuses_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let cases: [(&str, Vec<PartitionSpec>, DiskErrorKind); 6] = [
        ("over the table", vec![spec("a", TYPE_LINUX, 33, 1)], DiskErrorKind::Full),
        ("past the end", vec![spec("a", TYPE_LINUX, 34, 2048)], DiskErrorKind::Full),
        ("overflow", vec![spec("a", TYPE_LINUX, u64::MAX, 2)], DiskErrorKind::Full),
        ("empty", vec![spec("a", TYPE_LINUX, 40, 0)], DiskErrorKind::Full),
        (
            "overlap",
            vec![spec("b", TYPE_LINUX, 100, 10), spec("a", TYPE_LINUX, 90, 11)],
            DiskErrorKind::Full,
        ),
        ("name", vec![spec(&"x".repeat(37), TYPE_LINUX, 40, 1)], DiskErrorKind::Unsupported),
    ];
    for (what, specs, kind) in cases {
        let error = write_gpt(&path, Uuid::nil(), &specs).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
}

/// A disk with patches over it.
fn patched(mut disk: Vec<u8>, len: usize, patches: &[Patch]) -> Vec<u8> {
    disk.resize(len, 0);
    for patch in patches {
        let at = usize::try_from(patch.offset).unwrap();
        disk[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    disk
}

#[test]
fn grows_the_last_partition_to_the_end_of_a_longer_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap().join("disk.raw");
    let mut disk = vec![0; 8 << 20];
    disk[..440].fill(0xB0);
    fs::write(&path, &disk).unwrap();
    // The root's number is not its place.
    let specs = [
        spec("root", TYPE_ROOT_X86_64, 8192, 16384 - 8192 - 33),
        spec("esp", TYPE_ESP, 2048, 4096),
    ];
    write_gpt(&path, guid_from_seed("test", "disk"), &specs).unwrap();
    let image = DiskImage::open(&path).unwrap();
    let before = read_partitions(&image).unwrap();
    let len = 20 << 20;
    let patches = grow(&image, 1, len).unwrap().unwrap();
    let longer = dir.path().join("longer.raw");
    let longer = Utf8Path::from_path(&longer).unwrap();
    let bytes = patched(fs::read(&path).unwrap(), usize::try_from(len).unwrap(), &patches);
    fs::write(longer, &bytes).unwrap();
    for broken in [None, Some(512)] {
        if let Some(at) = broken {
            let file = fs::File::options().write(true).open(longer).unwrap();
            file.write_all_at(&[0; 8], at).unwrap();
        }
        let after = read_partitions(&DiskImage::open(longer).unwrap()).unwrap();
        assert_eq!(after[1], before[1]);
        assert_eq!(after[0].first_lba, before[0].first_lba);
        let end = after[0].first_lba + after[0].sectors;
        assert!((len / SECTOR - 33 - end) < 8, "{end}");
        assert_eq!(after[0].unique_guid, before[0].unique_guid);
    }
    assert_eq!(bytes[..440], [0xB0; 440]);
    assert_eq!(u32::from_le_bytes(bytes[458..462].try_into().unwrap()), (20 << 11) - 1);
    // Nothing behind it may be in its way, and there must be something to gain.
    assert_eq!(grow(&image, 2, len).unwrap(), None, "the root lies behind the ESP");
    assert_eq!(grow(&image, 1, 8 << 20).unwrap(), None);
    assert_eq!(grow(&image, 3, len).unwrap(), None);
}

//! Images that lie: an error, with little memory, and never a panic.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{fs, os::unix::fs::FileExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{
    DiskError, DiskErrorKind, DiskFormat, DiskImage, DiskSource as _, ExportFormat, ExportOptions,
    export, gpt, overlay::create_overlay,
};
use proptest::prelude::*;

fn path_in(dir: &tempfile::TempDir, name: &str) -> Utf8PathBuf {
    Utf8Path::from_path(dir.path()).unwrap().join(name)
}

/// A small image with compressed clusters, as bytes.
fn image(dir: &tempfile::TempDir) -> Vec<u8> {
    let raw = path_in(dir, "disk.raw");
    let mut disk = vec![0; 4 << 20];
    disk[..300_000].fill(0x41);
    disk[2 << 20..(2 << 20) + 9].copy_from_slice(b"some data");
    fs::write(&raw, &disk).unwrap();
    let out = path_in(dir, "good.qcow2");
    let options = ExportOptions::new("");
    export(&DiskImage::open(&raw).unwrap(), ExportFormat::Qcow2, &out, &options, &mut |_| {})
        .unwrap();
    fs::read(&out).unwrap()
}

fn use_up(path: &Utf8Path) -> Result<(), DiskError> {
    let image = DiskImage::open_as(path, DiskFormat::Qcow2)?;
    let mut buffer = vec![0; 1 << 20];
    for extent in image.extents()?.iter().take(8) {
        let len = usize::try_from(extent.len).unwrap().min(buffer.len());
        image.read_at(extent.offset, &mut buffer[..len])?;
    }
    image.read_at(0, &mut buffer)?;
    image.read_at(image.virtual_size().saturating_sub(10), &mut buffer)
}

#[test]
fn lying_headers_are_refused() {
    use DiskErrorKind::{Corrupt, Truncated, Unsupported};
    let dir = tempfile::tempdir().unwrap();
    let good = image(&dir);
    let l1 = u64::from_be_bytes(good[40..48].try_into().unwrap());
    let l1_at = usize::try_from(l1).unwrap();
    let cases: &[(&str, usize, &[u8], DiskErrorKind)] = &[
        ("no magic", 0, b"QFI\0", Corrupt),
        ("version 1", 4, &1_u32.to_be_bytes(), Unsupported),
        ("clusters of 256", 20, &8_u32.to_be_bytes(), Corrupt),
        ("clusters of 4 MiB", 20, &22_u32.to_be_bytes(), Corrupt),
        ("clusters of 2^4e9", 20, &u32::MAX.to_be_bytes(), Corrupt),
        ("huge size", 24, &u64::MAX.to_be_bytes(), Unsupported),
        ("size past L1", 24, &(1_u64 << 40).to_be_bytes(), Corrupt),
        ("encrypted", 32, &1_u32.to_be_bytes(), Unsupported),
        ("no L1", 36, &0_u32.to_be_bytes(), Corrupt),
        ("L1 at odd place", 40, &(l1 + 8).to_be_bytes(), Corrupt),
        ("L1 past the end", 40, &(1_u64 << 50).to_be_bytes(), Truncated),
        ("L1 wraps", 40, &(u64::MAX << 16).to_be_bytes(), Truncated),
        ("corrupt bit", 72, &2_u64.to_be_bytes(), Corrupt),
        ("external data", 72, &4_u64.to_be_bytes(), Unsupported),
        ("extended L2", 72, &16_u64.to_be_bytes(), Unsupported),
        ("unknown feature", 72, &(1_u64 << 60).to_be_bytes(), Unsupported),
        ("type without its bit", 72, &0_u64.to_be_bytes(), Corrupt),
        ("unknown compression", 104, &[9], Unsupported),
        ("header length", 100, &u32::MAX.to_be_bytes(), Corrupt),
        ("backing name", 8, &u64::MAX.to_be_bytes(), Corrupt),
        ("long extension", 112, &[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF], Corrupt),
        ("L2 past the end", l1_at, &(1_u64 << 50).to_be_bytes(), Truncated),
        ("L2 at odd place", l1_at, &512_u64.to_be_bytes(), Corrupt),
    ];
    let path = path_in(&dir, "bad.qcow2");
    for (what, at, bytes, kind) in cases {
        let mut bad = good.clone();
        bad[*at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, &bad).unwrap();
        let error = use_up(&path).expect_err(what);
        assert_eq!(error.kind(), *kind, "{what}: {error}");
        assert_eq!(error.path(), Some(path.as_path()), "{what}");
    }
    for len in [0, 3, 71, 103, 111, 65536, l1_at + 8, good.len() / 2] {
        fs::write(&path, &good[..len]).unwrap();
        let error = use_up(&path).unwrap_err();
        assert!(matches!(error.kind(), Truncated | Corrupt), "{len}: {error}");
    }
}

#[test]
fn a_huge_sparse_image_stays_small() {
    // 32 MiB of L1 entries that all name one L2 table: refused, since the file has fewer clusters.
    let dir = tempfile::tempdir().unwrap();
    let path = path_in(&dir, "bomb.qcow2");
    fs::write(&path, image(&dir)).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&((512_u64 << 20) * (4 << 20)).to_be_bytes(), 24).unwrap();
    file.write_all_at(&(4_u32 << 20).to_be_bytes(), 36).unwrap();
    file.write_all_at(&(1_u64 << 20).to_be_bytes(), 40).unwrap();
    let entries: Vec<u8> = (0..4 << 20).flat_map(|_| 65536_u64.to_be_bytes()).collect();
    file.write_all_at(&entries, 1 << 20).unwrap();
    assert_eq!(use_up(&path).unwrap_err().kind(), DiskErrorKind::Corrupt);
}

#[test]
fn chains_that_loop_or_leave_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (path_in(&dir, "a.qcow2"), path_in(&dir, "b.qcow2"));
    let make = |path: &Utf8Path, below: &str| {
        create_overlay(path, below.into(), DiskFormat::Qcow2, 1 << 20, 12).unwrap();
    };
    make(&a, "b.qcow2");
    make(&b, "a.qcow2");
    assert_eq!(DiskImage::open(&a).unwrap_err().kind(), DiskErrorKind::Corrupt);
    make(&a, "a.qcow2");
    assert_eq!(DiskImage::open(&a).unwrap_err().kind(), DiskErrorKind::Corrupt);
    for name in ["nbd://host/x", "json:{}", "file:nbd:x"] {
        make(&a, name);
        assert_eq!(DiskImage::open(&a).unwrap_err().kind(), DiskErrorKind::Unsupported, "{name}");
    }
    make(&a, "missing.qcow2");
    let error = DiskImage::open(&a).unwrap_err();
    assert_eq!(error.kind(), DiskErrorKind::Io);
    assert!(error.path().unwrap().ends_with("missing.qcow2"));
    for level in 0..70 {
        let below = format!("{}.qcow2", level + 1);
        make(&path_in(&dir, &format!("{level}.qcow2")), &below);
    }
    let error = DiskImage::open(&path_in(&dir, "0.qcow2")).unwrap_err();
    assert_eq!(error.kind(), DiskErrorKind::Unsupported);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutated_images_never_panic(
        changes in prop::collection::vec((0..5_usize, 0..160_usize, any::<u8>()), 1..6),
        cut in prop::option::of(0..400_000_usize),
    ) {
        thread_local! {
            static GOOD: (tempfile::TempDir, Vec<u8>) = {
                let dir = tempfile::tempdir().unwrap();
                let good = image(&dir);
                (dir, good)
            };
        }
        GOOD.with(|(dir, good)| {
            let mut bad = good.clone();
            for (place, at, byte) in &changes {
                // The header, the L1 table, the clusters, and both tables after them.
                let at = [*at, 65536 + at % 8, 131_072 + at, 196_608 + at, 262_144 + at][*place];
                if let Some(old) = bad.get_mut(at) {
                    *old = *byte;
                }
            }
            bad.truncate(cut.unwrap_or(usize::MAX));
            let path = path_in(dir, "mutant.qcow2");
            fs::write(&path, &bad).unwrap();
            let _either = use_up(&path);
        });
    }

    #[test]
    fn mutated_partition_tables_never_panic(
        changes in prop::collection::vec((0..300_usize, any::<u8>(), any::<bool>()), 1..6),
        whole in any::<bool>(),
    ) {
        thread_local! {
            static DIR: tempfile::TempDir = tempfile::tempdir().unwrap();
        }
        DIR.with(|dir| {
            let path = path_in(dir, "disk.raw");
            fs::write(&path, vec![0; 128 << 10]).unwrap();
            let spec = gpt::PartitionSpec {
                type_guid: gpt::TYPE_LINUX,
                unique_guid: gpt::guid_from_seed("", "a"),
                name: "a".into(),
                first_lba: 40,
                sectors: 9,
            };
            gpt::write_gpt(&path, gpt::guid_from_seed("", "disk"), &[spec]).unwrap();
            let mut disk = fs::read(&path).unwrap();
            let end = disk.len() - 512;
            for (at, byte, backup) in &changes {
                // The header's fields, and the first entry; without the backup, or within it.
                let at = if *at < 92 { 512 + at } else { 1024 + at - 92 };
                disk[if *backup && at < 1024 { end + at - 512 } else { at }] = *byte;
            }
            for header in [512, end] {
                // With a checksum that holds, so that what lies behind it is reached.
                if whole {
                    disk[header + 16..header + 20].fill(0);
                    let sum = crc32fast::hash(&disk[header..header + 92]);
                    disk[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
                }
            }
            fs::write(&path, &disk).unwrap();
            let image = DiskImage::open(&path).unwrap();
            for partition in gpt::read_partitions(&image).into_iter().flatten() {
                assert!(partition.offset() + partition.len() <= image.virtual_size());
            }
        });
    }
}

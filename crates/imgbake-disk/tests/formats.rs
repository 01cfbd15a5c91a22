//! What is written and read here, compared with what `qemu-img` says of the same files.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{fs, os::unix::fs::MetadataExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::{
    DiskErrorKind, DiskFormat, DiskImage, DiskSource as _, ExportFormat, ExportOptions, export,
    gpt::Patch,
    overlay::{create_overlay, create_patched_overlay, rebase},
};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().join(name)
    }
}

#[expect(clippy::disallowed_methods, reason = "qemu-img is the judge of these formats")]
fn qemu(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

fn qemu_img(args: &[&str]) -> String {
    qemu("qemu-img", args)
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A sparse disk with text, noise, a short tail and zeros that are written out.
fn sample(path: &Utf8Path, size: u64) -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(size).unwrap()];
    disk[..200_000].copy_from_slice(&b"golden image ".repeat(16_000)[..200_000]);
    disk[3_000_001..3_400_000].copy_from_slice(&noise(399_999, 1));
    let tail = disk.len() - 700;
    disk[tail..].copy_from_slice(&noise(700, 2));
    fs::write(path, []).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(size).unwrap();
    for at in [0..1 << 20, 2_900_000..3_500_000, tail..disk.len()] {
        std::os::unix::fs::FileExt::write_all_at(&file, &disk[at.clone()], at.start as u64)
            .unwrap();
    }
    disk
}

fn read_all(image: &DiskImage, step: usize) -> Vec<u8> {
    let mut all = vec![0xAA; usize::try_from(image.virtual_size()).unwrap()];
    let mut at = 0;
    for part in all.chunks_mut(step) {
        image.read_at(at, part).unwrap();
        at += part.len() as u64;
    }
    all
}

/// Reads only what the extents name: the rest must be zero.
fn read_extents(image: &DiskImage) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(image.virtual_size()).unwrap()];
    for extent in image.extents().unwrap() {
        let range = usize::try_from(extent.offset).unwrap()..usize::try_from(extent.end()).unwrap();
        image.read_at(extent.offset, &mut all[range]).unwrap();
    }
    all
}

#[test]
fn every_export_is_what_qemu_reads() {
    let dir = Dir::new();
    let raw = dir.path("disk.raw");
    let size = (40 << 20) + 12_800;
    sample(&raw, size);
    let image = DiskImage::open(&raw).unwrap();
    for format in ExportFormat::ALL {
        let path = dir.path(&format!("out.{}", format.extension()));
        let mut done = 0;
        export(&image, format, &path, &ExportOptions::new("seed"), &mut |n| done += n).unwrap();
        assert_eq!(done, size, "{format}");
        let driver = if format == ExportFormat::Vhd { "vpc" } else { format.extension() };
        qemu_img(&["compare", "-f", "raw", "-F", driver, raw.as_str(), path.as_str()]);
        if matches!(format, ExportFormat::Qcow2 | ExportFormat::Vmdk | ExportFormat::Vhdx) {
            let said = qemu_img(&["check", "-f", driver, path.as_str()]);
            assert!(said.contains("No errors"), "{format}: {said}");
        }
        assert_eq!(format.to_string().parse::<ExportFormat>().unwrap(), format);
        let one = ExportOptions { threads: 1, ..ExportOptions::new("seed") };
        let again = dir.path("again");
        export(&image, format, &again, &one, &mut |_| {}).unwrap();
        assert!(
            fs::read(&path).unwrap() == fs::read(&again).unwrap(),
            "{format} is not the same twice"
        );
    }
    assert!(fs::metadata(dir.path("out.raw")).unwrap().blocks() * 512 < 2 << 20);
}

#[test]
fn empty_and_tiny_disks_export() {
    let dir = Dir::new();
    for size in [512, 65536, 1 << 20, (512 << 20) + 512] {
        let raw = dir.path("empty.raw");
        fs::File::create(&raw).unwrap().set_len(size).unwrap();
        let image = DiskImage::open(&raw).unwrap();
        for format in ExportFormat::ALL {
            let path = dir.path("out");
            export(&image, format, &path, &ExportOptions::new(""), &mut |_| {}).unwrap();
            let driver = if format == ExportFormat::Vhd { "vpc" } else { format.extension() };
            qemu_img(&["compare", "-f", "raw", "-F", driver, raw.as_str(), path.as_str()]);
        }
    }
}

#[test]
fn reads_what_qemu_writes() {
    let dir = Dir::new();
    let raw = dir.path("disk.raw");
    let disk = sample(&raw, 40 << 20);
    let options = [
        vec!["-o", "compat=1.1"],
        vec!["-o", "compat=0.10"],
        vec!["-o", "cluster_size=4k"],
        vec!["-o", "cluster_size=512"],
        vec!["-o", "cluster_size=2M"],
        vec!["-o", "preallocation=metadata"],
        vec!["-c", "-o", "compression_type=zlib"],
        vec!["-c", "-o", "compression_type=zstd"],
        vec!["-c", "-o", "compression_type=zstd,cluster_size=4k"],
        vec!["-c", "-o", "cluster_size=2M"],
    ];
    for option in options {
        let path = dir.path("disk.qcow2");
        let mut args = vec!["convert", "-f", "raw", "-O", "qcow2"];
        args.extend(&option);
        args.extend([raw.as_str(), path.as_str()]);
        qemu_img(&args);
        let image = DiskImage::open(&path).unwrap();
        assert_eq!(image.format(), DiskFormat::Qcow2);
        for step in [1 << 20, 10_007] {
            assert!(read_all(&image, step) == disk, "{option:?} by {step}");
        }
        assert!(read_extents(&image) == disk, "extents of {option:?}");
        let held: u64 = image.extents().unwrap().iter().map(|e| e.len).sum();
        assert!(option[1].contains("prealloc") || held <= 8 << 20, "{option:?} holds {held}");
    }
}

#[test]
fn reads_its_own_export() {
    let dir = Dir::new();
    let raw = dir.path("disk.raw");
    let disk = sample(&raw, 40 << 20);
    let out = dir.path("disk.qcow2");
    let options = ExportOptions::new("x");
    export(&DiskImage::open(&raw).unwrap(), ExportFormat::Qcow2, &out, &options, &mut |_| {})
        .unwrap();
    let image = DiskImage::open_flat(&out).unwrap();
    assert!(read_all(&image, 1 << 20) == disk);
    assert!(read_extents(&image) == disk);
}

/// What differs from a disk below lies in the extents above it, and these are not much longer.
fn changes_are_told(image: &DiskImage, below: &Utf8Path, bits: u32) {
    let (now, mut before) =
        (read_all(image, 1 << 20), read_all(&DiskImage::open(below).unwrap(), 1 << 20));
    before.resize(now.len(), 0);
    let extents = image.extents_above(below).unwrap().unwrap();
    let mut rebuilt = before;
    for extent in &extents {
        let range = usize::try_from(extent.offset).unwrap()..usize::try_from(extent.end()).unwrap();
        rebuilt[range.clone()].copy_from_slice(&now[range]);
    }
    assert!(rebuilt == now, "2^{bits}: {extents:?}");
    assert!(extents.windows(2).all(|pair| pair[0].end() < pair[1].offset), "{extents:?}");
    let reported: u64 = extents.iter().map(|extent| extent.len).sum();
    let written = (100 << 10) + (256 << 10) + (12 << 10) + (2 << 20);
    assert!(reported <= written + (10 << bits), "2^{bits}: {reported}");
}

#[test]
fn a_shorter_overlay_hides_what_is_below_it() {
    let dir = Dir::new();
    let base = dir.path("base.raw");
    sample(&base, 8 << 20);
    let (one, two) = (dir.path("one.qcow2"), dir.path("two.qcow2"));
    create_overlay(&one, &base, DiskFormat::Raw, 3 << 20, 16).unwrap();
    create_overlay(&two, &one, DiskFormat::Qcow2, 8 << 20, 16).unwrap();
    let image = DiskImage::open(&two).unwrap();
    let extents = image.extents_above(&base).unwrap().unwrap();
    assert_eq!(extents.iter().map(|e| (e.offset, e.len)).collect::<Vec<_>>(), [(3 << 20, 5 << 20)]);
    assert_eq!(image.extents_above(&two).unwrap(), Some(Vec::new()));
    let other = dir.path("other.raw");
    sample(&other, 8 << 20);
    assert_eq!(image.extents_above(&other).unwrap(), None);
    assert!(image.extents_above(&dir.path("none")).is_err());
}

#[test]
fn overlays_chain_and_grow() {
    for bits in [9, 12, 16, 21] {
        let dir = Dir::new();
        let base = dir.path("base.raw");
        let mut disk = sample(&base, 8 << 20);
        let (one, two) = (dir.path("one.qcow2"), dir.path("two.qcow2"));
        let raw = DiskFormat::Raw;
        create_overlay(&one, Utf8Path::new("base.raw"), raw, 8 << 20, bits).unwrap();
        create_overlay(&two, Utf8Path::new("one.qcow2"), DiskFormat::Qcow2, 12 << 20, bits)
            .unwrap();
        let io = |path: &Utf8Path, commands: &[&str]| {
            let mut args = vec!["-f", "qcow2"];
            for command in commands {
                args.extend(["-c", command]);
            }
            args.push(path.as_str());
            qemu("qemu-io", &args);
        };
        io(&one, &["write -P 7 1M 100k", "write -z 3M 256k"]);
        disk[1 << 20..(1 << 20) + (100 << 10)].fill(7);
        disk[3 << 20..(3 << 20) + (256 << 10)].fill(0);
        disk.resize(12 << 20, 0);
        io(&two, &["write -P 9 1028k 4k", "write -P 8 11M 8k", "write -P 3 7M 2M"]);
        disk[1028 << 10..1032 << 10].fill(9);
        disk[11 << 20..(11 << 20) + 8192].fill(8);
        disk[7 << 20..9 << 20].fill(3);
        for path in [&one, &two] {
            let said = qemu_img(&["check", "-f", "qcow2", path.as_str()]);
            assert!(said.contains("No errors"), "2^{bits}: {said}");
        }
        let image = DiskImage::open(&two).unwrap();
        assert_eq!(image.virtual_size(), 12 << 20);
        assert_eq!(image.backing().unwrap().backing().unwrap().format(), DiskFormat::Raw);
        assert!(read_all(&image, 1 << 20) == disk, "2^{bits}");
        assert!(read_all(&image, 4099) == disk, "2^{bits}");
        assert!(read_extents(&image) == disk, "2^{bits}");
        assert_eq!(DiskImage::open_flat(&two).unwrap_err().kind(), DiskErrorKind::Unsupported);
        changes_are_told(&image, &base, bits);
        changes_are_told(&image, &one, bits);

        // The same chain, whose middle has moved.
        let moved = dir.path("moved.qcow2");
        std::fs::rename(&one, &moved).unwrap();
        rebase(&two, &moved, DiskFormat::Qcow2).unwrap();
        let said = qemu_img(&["check", "-f", "qcow2", two.as_str()]);
        assert!(said.contains("No errors"), "2^{bits}: {said}");
        assert!(read_all(&DiskImage::open(&two).unwrap(), 1 << 20) == disk, "2^{bits}");
    }
}

#[test]
fn a_patched_overlay_holds_what_differs() {
    for bits in [9, 12, 16] {
        let dir = Dir::new();
        let base = dir.path("base.raw");
        let mut disk = sample(&base, 8 << 20);
        let size = 20_u64 << 20;
        disk.resize(usize::try_from(size).unwrap(), 0);
        // Over one another, across clusters, beyond the backing file, at the very end.
        let patches = [(0, 512, 1), (500, 9000, 2), (8 << 20, 700, 3), (size - 512, 512, 4)]
            .map(|(offset, len, seed)| Patch { offset, bytes: noise(len, seed) });
        for Patch { offset, bytes } in &patches {
            let at = usize::try_from(*offset).unwrap();
            disk[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let overlay = dir.path("overlay.qcow2");
        let image = DiskImage::open(&base).unwrap();
        create_patched_overlay(&overlay, &image, size, bits, &patches).unwrap();
        assert!(qemu_img(&["check", overlay.as_str()]).contains("No errors"), "{bits}");
        let raw = dir.path("raw");
        qemu_img(&["convert", "-O", "raw", overlay.as_str(), raw.as_str()]);
        assert!(fs::read(&raw).unwrap() == disk, "{bits}: as QEMU reads it");
        let mut read = vec![0; disk.len()];
        DiskImage::open(&overlay).unwrap().read_at(0, &mut read).unwrap();
        assert!(read == disk, "{bits}: as we read it");
        let past = Patch { offset: size - 1, bytes: vec![0; 2] };
        let error = create_patched_overlay(&overlay, &image, size, bits, &[past]).unwrap_err();
        assert_eq!(error.kind(), DiskErrorKind::Unsupported);
    }
}

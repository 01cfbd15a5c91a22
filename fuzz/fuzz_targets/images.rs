//! Disk images: which format one is, a qcow2 image's header, tables and clusters.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::fs;
use std::io::Write;
use std::sync::LazyLock;

use camino::Utf8PathBuf;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use imgbake_disk::{DiskImage, DiskSource, Extent, Result};
use imgbake_fuzz::{choose, folder, seed, tagged};
use libfuzzer_sys::fuzz_target;

/// A disk's parts that are read.
const PARTS: usize = 40;
const PIECE: usize = 1 << 16;

static DIR: LazyLock<Utf8PathBuf> = LazyLock::new(folder);

/// The smallest clusters that there are, so that a whole image is a small input.
const CLUSTER: usize = 512;

/// An image of 64 KB with a cluster of each kind (QEMU, `docs/interop/qcow2.rst`).
fn image(zstd: bool, backing: bool) -> Vec<u8> {
    let mut image = vec![0; 6 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x03");
    for (at, number) in [(20, 9), (36, 2), (96, 4), (100, 112), (104, u32::from(zstd) << 24)] {
        put(at, &u32::to_be_bytes(number));
    }
    for (at, number) in [(24, 64_000), (40, CLUSTER as u64), (72, u64::from(zstd) << 3)] {
        put(at, &u64::to_be_bytes(number));
    }
    if backing {
        put(8, &u64::to_be_bytes(136));
        put(16, &u32::to_be_bytes(8));
        put(112, b"\xe2\x79\x2a\xca\0\0\0\x03raw");
        put(136, b"disk.raw");
    }
    // The first half of the disk has a table; of the other, nothing is there.
    put(CLUSTER, &u64::to_be_bytes(2 * CLUSTER as u64));
    let data = 3 * CLUSTER as u64;
    let packed = 5 * CLUSTER as u64;
    for (entry, number) in (0..).zip([data, 1 << 62 | packed, 1, 0, data, data + CLUSTER as u64]) {
        put(2 * CLUSTER + 8 * entry, &u64::to_be_bytes(number));
    }
    put(3 * CLUSTER, &[7; 2 * CLUSTER]);
    let plain = [9; CLUSTER];
    put(
        5 * CLUSTER,
        &if zstd { zstd::bulk::compress(&plain, 3).unwrap() } else { deflate(&plain) },
    );
    image
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn sound() -> Vec<Vec<u8>> {
    let mut disk = vec![0; 64_000];
    disk[30_000..40_000].fill(5);
    fs::write(DIR.join("disk.raw"), disk).unwrap();
    let images = [image(false, false), image(true, false), image(false, true)];
    let path = DIR.join("image");
    for image in &images {
        fs::write(&path, image).unwrap();
        use_up(&DiskImage::open(&path).unwrap()).unwrap();
    }
    (0..2).flat_map(|choice| images.iter().map(move |image| tagged(choice, image))).collect()
}

/// Reads a part of each extent and of each gap.
fn use_up(image: &DiskImage) -> Result<()> {
    let size = image.virtual_size();
    let extents = image.extents()?;
    let mut end = 0;
    for (number, Extent { offset, len }) in extents.iter().copied().enumerate() {
        assert!(len > 0 && offset + len <= size, "an extent is in the disk");
        assert!(number == 0 || offset > end, "extents are apart, and in order");
        if number < PARTS {
            gap(image, end, offset)?;
            piece(image, offset, len)?;
        }
        end = offset + len;
    }
    gap(image, end, size)?;
    // Past the end there are zeros.
    let mut past = [1; 16];
    image.read_at(size, &mut past)?;
    assert_eq!(past, [0; 16]);
    Ok(())
}

fn gap(image: &DiskImage, from: u64, to: u64) -> Result<()> {
    let mut bytes = vec![1; usize::try_from(to - from).unwrap().min(PIECE)];
    image.read_at(from, &mut bytes)?;
    assert!(bytes.iter().all(|byte| *byte == 0), "what is in no extent is zero");
    Ok(())
}

/// The same bytes, however they are asked for.
fn piece(image: &DiskImage, offset: u64, len: u64) -> Result<()> {
    let mut whole = vec![1; usize::try_from(len).unwrap().min(PIECE)];
    image.read_at(offset, &mut whole)?;
    let half = whole.len() / 2;
    let mut part = vec![2; whole.len() - half];
    image.read_at(offset + half as u64, &mut part)?;
    assert!(part == whole[half..], "one disk has one content");
    Ok(())
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((choice, bytes)) = choose(input, 2) else { return };
    let path = DIR.join("image");
    fs::write(&path, bytes).unwrap();
    // One that came from elsewhere may name no file of this host; an overlay of ours names one here.
    let opened = if choice == 0 { DiskImage::open_flat(&path) } else { DiskImage::open(&path) };
    let Ok(image) = opened else { return };
    assert!(choice == 1 || image.backing().is_none());
    // An error is an answer too.
    let _ = use_up(&image);
});

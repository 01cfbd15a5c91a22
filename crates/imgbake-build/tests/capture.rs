//! Capture against plain reading: what comes out of the segments is what was on the disk.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use camino::Utf8Path;
use imgbake_build::capture::{CaptureRequest, NoTap, Tap, capture};
use imgbake_build::{Capture, Hit};
use imgbake_disk::DiskImage;
use imgbake_disk::segment::decode;
use imgbake_runtime::Cancel;
use imgbake_types::Digest;

const SIZE: u64 = (40 << 20) + 512;

/// A sparse disk with data at awkward places.
fn disk(dir: &Utf8Path) -> Vec<u8> {
    let path = dir.join("disk.raw");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    let noise: Vec<u8> =
        (0..5 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (offset, bytes) in [
        (0, &noise[..4096]),
        (1 << 20, &noise),
        (20_000_001, &noise[..3000]),
        (SIZE - 512, &noise[..512]),
    ] {
        file.write_all_at(bytes, offset).unwrap();
    }
    std::fs::read(path).unwrap()
}

fn take(dir: &Utf8Path, tap: Box<dyn Tap>) -> (Capture, Vec<Hit>) {
    let disk = DiskImage::open(&dir.join("disk.raw")).unwrap();
    let folder = dir.join("segments");
    std::fs::create_dir(&folder).unwrap();
    let last = Mutex::new(0);
    let progress = |done| *last.lock().unwrap() = done;
    let request = CaptureRequest {
        disk: &disk,
        folder: &folder,
        tap,
        cancel: &Cancel::new(),
        progress: &progress,
    };
    let captured = capture(request).unwrap();
    assert_eq!(*last.lock().unwrap(), SIZE);
    captured
}

#[test]
fn segments_hold_the_disk() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap();
    let bytes = disk(dir);
    let (captured, hits) = take(dir, Box::new(NoTap));
    assert!(hits.is_empty());
    assert_eq!(captured.sha256, Digest::sha256(&bytes));
    assert_eq!(captured.virtual_size, SIZE);
    let mut rebuilt = vec![0; bytes.len()];
    for segment in &captured.segments {
        let packed = std::fs::read(&segment.path).unwrap();
        assert_eq!(Digest::sha256(&packed), segment.digest);
        assert_eq!(packed.len() as u64, segment.size);
        let reader = BufReader::new(File::open(&segment.path).unwrap());
        decode(reader, SIZE, |offset, part| {
            let at = usize::try_from(offset).unwrap();
            rebuilt[at..at + part.len()].copy_from_slice(part);
            Ok(())
        })
        .unwrap();
    }
    assert!(rebuilt == bytes);
    assert!(captured.data_bytes < 6 << 20, "{}", captured.data_bytes);
}

/// Puts what it sees back together.
struct Copying(Vec<u8>);

impl Tap for Copying {
    fn data(&mut self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap();
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn finish(self: Box<Self>) -> Vec<Hit> {
        vec![Hit { name: Digest::sha256(&self.0).to_string(), grave: false, offset: 0 }]
    }
}

#[test]
fn the_tap_sees_all_data() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap();
    let bytes = disk(dir);
    let (captured, hits) = take(dir, Box::new(Copying(vec![0; bytes.len()])));
    assert_eq!(hits[0].name, captured.sha256.to_string());
}

#[test]
fn a_cancelled_capture_ends() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap();
    disk(dir);
    let disk = DiskImage::open(&dir.join("disk.raw")).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let request = CaptureRequest {
        disk: &disk,
        folder: dir,
        tap: Box::new(NoTap),
        cancel: &cancel,
        progress: &|_| {},
    };
    let error = capture(request).unwrap_err();
    assert_eq!(error.kind(), imgbake_build::BuildErrorKind::Cancelled);
}

//! Memory is bounded whatever the disk's size. A test binary of its own: the kernel's high-water mark
//! counts the whole process.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::fs::File;
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use imgbake_build::capture::{CaptureRequest, KnownChunks, NoTap, capture};
use imgbake_disk::DiskImage;
use imgbake_runtime::Cancel;

const GIB: u64 = 1 << 30;
const MIB: usize = 1 << 20;

#[test]
fn a_disk_of_20_gib_with_3_in_use_takes_less_than_300_mib() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap();
    let path = dir.join("disk.raw");
    let file = File::create(&path).unwrap();
    file.set_len(20 * GIB).unwrap();
    // Half noise, half text: what a root file system is to a compressor.
    let mut state = 1_u64;
    let mut buffer = vec![0; MIB];
    for number in 0..3072_u64 {
        for (index, byte) in buffer.iter_mut().enumerate() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = if index % 2 == 0 { (state >> 56) as u8 } else { b'a' };
        }
        // Spread over the disk in pieces of a MiB.
        file.write_all_at(&buffer, number * (20 * GIB / 3072) / 4096 * 4096).unwrap();
    }
    // Written zeros with a little between them: whoever waits for the little must not keep the zeros.
    let hollow = 19 * GIB + GIB / 2;
    buffer.fill(0);
    for number in 0..400 {
        buffer[0] = 1;
        file.write_all_at(&buffer, hollow + number * MIB as u64).unwrap();
    }
    drop(file);
    let disk = DiskImage::open(&path).unwrap();
    let folder = dir.join("packs");
    std::fs::create_dir(&folder).unwrap();
    let request = CaptureRequest {
        disk: &disk,
        folder: &folder,
        known: KnownChunks::default(),
        changed: None,
        tap: Box::new(NoTap),
        cancel: &Cancel::new(),
        progress: &|_| {},
    };
    let (captured, _) = capture(request).unwrap();
    assert!(captured.table.data_bytes() > 2 * GIB);
    let peak = peak_mib();
    println!("peak memory: {peak} MiB");
    assert!(peak < 300, "{peak} MiB");
}

/// The process's peak resident memory (proc(5), `VmHWM`).
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

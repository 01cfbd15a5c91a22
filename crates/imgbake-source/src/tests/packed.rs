//! Packed disks: whole, cut, damaged, and bombs.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::BuildErrorKind;
use imgbake_runtime::{Cancel, Events, Secrets};
use imgbake_types::Stage;

use super::server::Server;
use super::{Bench, noise, proved};
use crate::blocking;
use crate::error::SourceError;
use crate::unpack::{Limits, Packing, unpack};

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Data, a hole of 8 MiB, data that ends off a block.
fn disk() -> Vec<u8> {
    [noise(100), vec![0; 8 << 20], noise(3)].concat()
}

#[tokio::test]
async fn packed_disks_are_unpacked_once_with_their_holes() {
    let disk = disk();
    let twice = [xz(&disk[..100_352]), xz(&disk[100_352..])].concat();
    for (name, packed) in
        [("xz", xz(&disk)), ("two xz streams", twice), ("gzip", gzip(&disk)), ("zstd", zstd(&disk))]
    {
        let server = Server::of(packed.clone()).await;
        let bench = Bench::new();
        // The name says nothing: the bytes do.
        let got = bench.fetch(&server.url("/d.raw"), proved(&packed)).await.unwrap();
        assert!(std::fs::read(&got.local().unwrap().path).unwrap() == disk, "{name}");
        assert_eq!(
            (got.local().unwrap().virtual_size, got.bytes),
            (disk.len() as u64, packed.len() as u64)
        );
        let used = got.local().unwrap().path.metadata().unwrap().blocks() * 512;
        assert!(used < 1 << 20, "{name}: {used} bytes used");
        assert_eq!(bench.kept().len(), 2, "only the disk and its record stay: {:?}", bench.kept());
        // Also a file here with the same bytes is the same disk.
        let local = bench.file("copy", &packed);
        let again = bench.fetch(local.as_str(), proved(&packed)).await.unwrap();
        assert!(again.cached && again.local().unwrap().path == got.local().unwrap().path);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn cut_and_damaged_streams_are_named() {
    let disk = disk();
    for packed in [xz(&disk), gzip(&disk), zstd(&disk)] {
        let mut damaged = packed.clone();
        damaged[40_000] ^= 0xff;
        for (bytes, words) in
            [(&packed[..packed.len() - 20], "end too early"), (&damaged[..], "damaged")]
        {
            let server = Server::of(bytes.to_vec()).await;
            let bench = Bench::new();
            let error = bench.fetch(&server.url("/d.raw.xz"), proved(bytes)).await.unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.kind(), BuildErrorKind::Failed);
            assert!(bench.kept().is_empty(), "{:?}", bench.kept());
        }
    }
}

async fn unpacked(
    bench: &Bench,
    packed: Vec<u8>,
    limits: Limits,
) -> (Result<u64, SourceError>, Utf8PathBuf) {
    let path = bench.file("packed", packed);
    let packing = crate::inspect::packing(&path).unwrap().unwrap();
    let out: Utf8PathBuf = bench.path().join("out");
    let (events, _events) = Events::channel("t", Secrets::default());
    let to = out.clone();
    let work = move |meter: &blocking::Meter| {
        let file = File::create(&to).unwrap();
        unpack(packing, File::open(&path).unwrap(), (&file, &to), limits, meter)
    };
    (blocking::run(&events.stage(Stage::Source, "s"), &Cancel::new(), None, work).await, out)
}

#[tokio::test]
async fn bombs_stop_at_their_limit() {
    let (mib, zeros) = (1 << 20, vec![0; 64 << 20]);
    let bench = Bench::new();
    for packed in [xz(&zeros), gzip(&zeros), zstd(&zeros)] {
        let limits = Limits { data: mib, size: 8 * mib };
        let (got, out) = unpacked(&bench, packed.clone(), limits).await;
        let error = got.unwrap_err();
        assert!(
            error.kind() == BuildErrorKind::Full && error.to_string().contains("more than 8.0 MiB"),
            "{error}"
        );
        assert!(out.metadata().unwrap().blocks() == 0);
        // Zeros cost nothing: only the size counts.
        let (got, _) = unpacked(&bench, packed, Limits { data: 0, size: 64 * mib }).await;
        assert_eq!(got.unwrap(), 64 * mib);
    }
    let ones = vec![1; 64 << 20];
    let (got, out) = unpacked(&bench, zstd(&ones), Limits { data: mib, size: u64::MAX }).await;
    assert_eq!(got.unwrap_err().kind(), BuildErrorKind::Full);
    assert!(out.metadata().unwrap().len() <= 2 * mib);
}

#[tokio::test]
async fn a_window_beyond_bounded_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(&noise(10)).unwrap();
    let bench = Bench::new();
    let limits = Limits::of(Utf8Path::new("/"));
    let (got, _) = unpacked(&bench, encoder.finish().unwrap(), limits).await;
    assert_eq!(got.unwrap_err().kind(), BuildErrorKind::Failed);
}

#[test]
fn packing_is_known_by_the_first_bytes() {
    assert_eq!(Packing::of(&xz(b"x")), Some(Packing::Xz));
    assert_eq!(Packing::of(&gzip(b"x")), Some(Packing::Gzip));
    assert_eq!(Packing::of(&zstd(b"x")), Some(Packing::Zstd));
    for bytes in [&b""[..], b"QFI\xfb", b"\x1f\x8b", b"\xfd7zX"] {
        assert_eq!(Packing::of(bytes), None);
    }
}

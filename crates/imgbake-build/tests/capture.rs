//! Capture against plain reading: what comes out of the packs is what was on the disk.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::capture::{CaptureRequest, Changed, KnownChunks, NoTap, Tap, capture};
use imgbake_build::{BuildErrorKind, Capture, Hit};
use imgbake_disk::chunk::{ChunkTable, FrameReader};
use imgbake_disk::{DiskImage, Extent};
use imgbake_runtime::Cancel;
use imgbake_types::Digest;

const SIZE: u64 = (40 << 20) + 512;
const MIB: u64 = 1 << 20;

/// Bytes that do not repeat.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

struct Ground {
    dir: Utf8PathBuf,
    _temp: tempfile::TempDir,
}

impl Ground {
    /// A sparse disk with data at awkward places.
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let ground = Self { dir, _temp: temp };
        File::create(ground.disk()).unwrap().set_len(SIZE).unwrap();
        let noise = noise(1, 5 << 20);
        ground.put(0, &noise[..4096]);
        ground.put(MIB, &noise);
        ground.put(20_000_001, &noise[..3000]);
        ground.put(SIZE - 512, &noise[..512]);
        ground
    }

    fn disk(&self) -> Utf8PathBuf {
        self.dir.join("disk.raw")
    }

    fn put(&self, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.disk()).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.disk()).unwrap()
    }

    fn take(
        &self,
        known: KnownChunks,
        changed: Option<Changed>,
        tap: Box<dyn Tap>,
    ) -> (Capture, Vec<Hit>) {
        let disk = DiskImage::open(&self.disk()).unwrap();
        let folder = tempfile::tempdir_in(&self.dir).unwrap().keep();
        let last = Mutex::new(0);
        let progress = |done| *last.lock().unwrap() = done;
        let request = CaptureRequest {
            disk: &disk,
            folder: Utf8Path::from_path(&folder).unwrap(),
            known,
            changed,
            tap,
            cancel: &Cancel::new(),
            progress: &progress,
        };
        let captured = capture(request).unwrap();
        assert_eq!(*last.lock().unwrap(), captured.0.table.virtual_size());
        captured
    }

    fn whole(&self) -> Capture {
        self.take(KnownChunks::default(), None, Box::new(NoTap)).0
    }

    fn knowing(&self, table: &ChunkTable) -> Capture {
        self.take(known(table), None, Box::new(NoTap)).0
    }

    fn delta(&self, table: &Arc<ChunkTable>, extents: &[(u64, u64)]) -> Capture {
        let extents = extents.iter().map(|(offset, len)| Extent { offset: *offset, len: *len });
        let changed = Changed { table: Arc::clone(table), extents: extents.collect() };
        self.take(known(table), Some(changed), Box::new(NoTap)).0
    }
}

fn known(table: &ChunkTable) -> KnownChunks {
    let mut known = KnownChunks::default();
    known.add(table, |_| true);
    known
}

/// Puts a disk together from its table and the packs of some captures.
fn rebuild(table: &ChunkTable, captures: &[&Capture]) -> Vec<u8> {
    let mut packs = HashMap::new();
    for pack in captures.iter().flat_map(|capture| &capture.packs) {
        let bytes = std::fs::read(&pack.path).unwrap();
        assert_eq!((Digest::sha256(&bytes), bytes.len() as u64), (pack.digest.clone(), pack.size));
        packs.insert(pack.digest.bytes(), bytes);
    }
    let mut disk = vec![0; usize::try_from(table.virtual_size()).unwrap()];
    let mut reader = FrameReader::new().unwrap();
    for chunk in table.chunks() {
        let frame = chunk.frame;
        let pack = &packs[&table.packs()[frame.pack as usize].sha256.to_vec()];
        let stored = &pack[frame.offset as usize..usize::try_from(frame.end()).unwrap()];
        let bytes = reader.chunk(stored, chunk.len, &chunk.digest).unwrap();
        disk[usize::try_from(chunk.offset).unwrap()..][..bytes.len()].copy_from_slice(bytes);
    }
    disk
}

#[test]
fn packs_hold_the_disk() {
    let ground = Ground::new();
    let captured = ground.whole();
    let bytes = ground.bytes();
    assert_eq!(captured.sha256, Some(Digest::sha256(&bytes)));
    assert_eq!(captured.table.virtual_size(), SIZE);
    assert!(rebuild(&captured.table, &[&captured]) == bytes);
    assert!(captured.table.data_bytes() < 6 * MIB, "{}", captured.table.data_bytes());
    assert!(captured.read_bytes < 6 * MIB, "{}", captured.read_bytes);
    // A pack is nothing but frames: any zstd tool unpacks it.
    let pack = std::fs::read(&captured.packs[0].path).unwrap();
    assert!(
        zstd::stream::decode_all(&pack[..]).unwrap().len() as u64 <= captured.table.data_bytes()
    );
}

#[test]
fn the_same_disk_gives_the_same_packs() {
    let ground = Ground::new();
    // Pieces that are there often, so that workers race for them.
    let piece = noise(7, 1 << 20);
    (8..30).for_each(|at| ground.put(at * MIB, &piece));
    let first = ground.whole();
    for _ in 0..5 {
        let again = ground.whole();
        assert_eq!(again.table, first.table);
        assert_eq!(again.packs[0].digest, first.packs[0].digest);
    }
    assert!(first.new_bytes() < 8 * MIB, "equal chunks are stored once: {}", first.new_bytes());
    assert!(rebuild(&first.table, &[&first]) == ground.bytes());
}

#[test]
fn a_disk_that_is_known_is_not_stored_again() {
    let ground = Ground::new();
    let first = ground.whole();
    let again = ground.knowing(&first.table);
    assert_eq!(again.packs, []);
    assert_eq!(again.table, first.table);
    assert_eq!(again.sha256, first.sha256);
    // What moved is found where it is now.
    ground.put(30 * MIB, &noise(1, 5 << 20));
    ground.put(5 * MIB, &noise(9, 10_000));
    let third = ground.knowing(&first.table);
    assert!(third.new_bytes() < 600_000, "{}", third.new_bytes());
    assert!(rebuild(&third.table, &[&first, &third]) == ground.bytes());
}

#[test]
fn a_pack_of_little_use_is_not_referred_to() {
    let ground = Ground::new();
    let first = ground.whole();
    // A fifth of the 5 MiB stays.
    ground.put(2 * MIB, &noise(11, 4 << 20));
    for capture in [ground.knowing(&first.table), ground.delta(&first.table, &[(2 * MIB, 4 * MIB)])]
    {
        assert_eq!(capture.table.packs().len(), 1);
        assert!(rebuild(&capture.table, &[&capture]) == ground.bytes());
    }
    // A pack that is gone is not referred to either.
    let mut gone = KnownChunks::default();
    gone.add(&first.table, |_| false);
    let capture = ground.take(gone, None, Box::new(NoTap)).0;
    assert!(rebuild(&capture.table, &[&capture]) == ground.bytes());
}

#[test]
fn a_delta_reads_what_changed() {
    let ground = Ground::new();
    let first = ground.whole();
    ground.put(3 * MIB + 4096, &noise(2, 8192));
    ground.put(30 * MIB, &noise(3, 4096));
    ground.put(20_000_000, &[0; 4096]);
    let extents = [(30 * MIB, 4096), (19_996_672, 8192), (3 * MIB + 4096, 8192), (10 * MIB, 4096)];
    let second = ground.delta(&first.table, &extents);
    assert_eq!(second.sha256, None);
    assert!(second.read_bytes < 600 << 10, "{}", second.read_bytes);
    assert!(second.new_bytes() < 600 << 10, "{}", second.new_bytes());
    assert!(rebuild(&second.table, &[&first, &second]) == ground.bytes());
    // A generation later, on a longer disk.
    File::options().write(true).open(ground.disk()).unwrap().set_len(SIZE + MIB).unwrap();
    ground.put(SIZE + 4096, &noise(4, 4096));
    ground.put(3 * MIB + 4096, &noise(5, 4096));
    let extents = [(SIZE, MIB), (3 * MIB + 4096, 4096)];
    let third = ground.delta(&second.table, &extents);
    assert!(third.read_bytes < 1600 << 10, "{}", third.read_bytes);
    assert!(rebuild(&third.table, &[&first, &second, &third]) == ground.bytes());
    let none = ground.delta(&third.table, &[]);
    assert_eq!((none.packs.len(), none.read_bytes, &none.table), (0, 0, &third.table));
}

#[test]
fn a_disk_that_is_not_the_stored_one_is_read_whole() {
    let ground = Ground::new();
    let first = ground.whole();
    ground.put(MIB, &noise(12, 5 << 20));
    let second = ground.delta(&first.table, &[(30 * MIB, 4096)]);
    assert_eq!(second.sha256, Some(Digest::sha256(ground.bytes())));
    assert!(rebuild(&second.table, &[&first, &second]) == ground.bytes());
}

/// Puts what it sees back together.
struct Copying(Vec<u8>);

impl Tap for Copying {
    fn data(&mut self, offset: u64, bytes: &[u8]) {
        let at = usize::try_from(offset).unwrap();
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn finish(self: Box<Self>) -> Vec<Hit> {
        vec![Hit { name: Digest::sha256(&self.0).to_string(), severe: false, offset: 0 }]
    }
}

#[test]
fn the_tap_sees_all_data() {
    let ground = Ground::new();
    let bytes = ground.bytes();
    let tap = || Box::new(Copying(vec![0; bytes.len()]));
    let (captured, hits) = ground.take(KnownChunks::default(), None, tap());
    assert_eq!(Some(hits[0].name.clone()), captured.sha256.map(|sha256| sha256.to_string()));
    // Of a delta, all that changed.
    ground.put(30 * MIB, b"canary");
    let extents = vec![Extent { offset: 30 * MIB, len: 4096 }];
    let changed = Changed { table: captured.table, extents };
    let (_, hits) = ground.take(KnownChunks::default(), Some(changed), tap());
    let mut seen = vec![0; bytes.len()];
    seen[30 << 20..][..6].copy_from_slice(b"canary");
    assert_eq!(hits[0].name, Digest::sha256(seen).to_string());
}

#[test]
fn a_cancelled_capture_ends() {
    let ground = Ground::new();
    let disk = DiskImage::open(&ground.disk()).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let request = CaptureRequest {
        disk: &disk,
        folder: &ground.dir,
        known: KnownChunks::default(),
        changed: None,
        tap: Box::new(NoTap),
        cancel: &cancel,
        progress: &|_| {},
    };
    assert_eq!(capture(request).unwrap_err().kind(), BuildErrorKind::Cancelled);
}

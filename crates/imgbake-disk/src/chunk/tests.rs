use proptest::prelude::*;

use super::*;
use crate::{DiskErrorKind, Extent};

/// Bytes that look random and are the same everywhere.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len);
    for _ in 0..len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push(state.to_le_bytes()[3]);
    }
    bytes
}

/// Cuts a disk that is handed over in pieces of `piece` bytes.
fn cut(disk: &[u8], piece: usize) -> Vec<(u64, usize)> {
    let mut cutter = Cutter::default();
    let mut chunks = Vec::new();
    let mut take = |offset, bytes: &[u8]| {
        let at = usize::try_from(offset).unwrap();
        assert!(disk[at..at + bytes.len()] == *bytes);
        chunks.push((offset, bytes.len()));
    };
    for (number, part) in disk.chunks(piece).enumerate() {
        cutter.data((number * piece) as u64, part, &mut take);
    }
    cutter.end(&mut take);
    chunks
}

/// If this fails, the cutter was changed: every image in every registry would be stored anew.
#[test]
fn cut_points_never_move() {
    let mut disk = noise(1, 1 << 20);
    disk[400_000..500_000].fill(0);
    disk.extend(noise(2, 70_000));
    let golden = [
        (0, 107_373),
        (107_373, 20_054),
        (127_427, 68_325),
        (195_752, 116_126),
        (311_878, 82_734),
        // The run ends with the last block that is not all zero.
        (394_612, 6796),
        (499_712, 120_170),
        (619_882, 59_137),
        (679_019, 89_965),
        (768_984, 123_366),
        (892_350, 83_427),
        (975_777, 64_556),
        (1_040_333, 78_243),
    ];
    assert_eq!(cut(&disk, 1 << 20), golden);
}

#[test]
fn cuts_depend_on_the_bytes_alone() {
    let mut disk = noise(3, 3 << 20);
    disk[1 << 20..(1 << 20) + 8192].fill(0);
    disk[2_000_000..2_300_000].fill(0);
    let whole = cut(&disk, disk.len());
    for piece in [4096, 12_288, 65_536, 1 << 20] {
        assert_eq!(cut(&disk, piece), whole, "{piece}");
    }
    // What is handed over or not, where it is zero, changes nothing.
    let mut cutter = Cutter::default();
    let mut sparse = Vec::new();
    let mut take = |offset, bytes: &[u8]| sparse.push((offset, bytes.len()));
    for (start, end) in [(0, 1 << 20), ((1 << 20) + 8192, 1_998_848), (1_998_848, disk.len())] {
        cutter.data(start as u64, &disk[start..end], &mut take);
    }
    cutter.end(&mut take);
    assert_eq!(sparse, whole);
    let covered: usize = whole.iter().map(|(_, len)| len).sum();
    assert!(covered <= disk.len() - 8192 - 299_008 + 8192);
    for (_, len) in whole {
        assert!(len <= 256 << 10);
    }
}

#[test]
fn moved_bytes_are_found_again() {
    let tail = noise(4, 2 << 20);
    let lens = |head: usize| {
        let mut disk = noise(5, head);
        disk.extend(&tail);
        cut(&disk, 1 << 20).iter().map(|(_, len)| *len).collect::<Vec<_>>()
    };
    let (here, there) = (lens(4096), lens(20_480));
    let same = here.iter().rev().zip(there.iter().rev()).take_while(|(a, b)| a == b).count();
    assert!(same + 6 > here.len(), "{same} of {}", here.len());
}

fn pack(seed: u8, size: u64) -> PackRef {
    PackRef { sha256: [seed; 32], size }
}

fn chunk(offset: u64, len: u32, pack: u32, at: u32, stored: u32) -> Chunk {
    let digest = digest(&offset.to_le_bytes());
    Chunk { offset, len, digest, frame: Frame { pack, offset: at, len: stored } }
}

fn sample() -> ChunkTable {
    let chunks = vec![
        chunk(0, 70_000, 1, 0, 30_000),
        chunk(70_000, 16_384, 1, 30_000, 5),
        chunk(1 << 20, 4096, 0, 77, 200),
        chunk(2 << 20, 512, 1, 0, 30_000),
    ];
    ChunkTable::new(3 << 20, &[pack(1, 1000), pack(2, 40_000), pack(3, 9)], chunks).unwrap()
}

/// If this fails, the format was changed: it needs another version.
#[test]
fn a_table_has_these_bytes() {
    let table = sample();
    assert_eq!(table.packs(), [pack(2, 40_000), pack(1, 1000)]);
    let bytes = table.encode();
    let expected = [
        b"IMGBKCT\x01".to_vec(),
        (3_u64 << 20).to_le_bytes().to_vec(),
        vec![2, 0, 0, 0, 4, 0, 0, 0],
        vec![2; 32],
        40_000_u64.to_le_bytes().to_vec(),
        vec![1; 32],
        1000_u64.to_le_bytes().to_vec(),
        vec![0, 0xF0, 0xA2, 4, 0, 0, 0xB0, 0xEA, 1],
        digest(&0_u64.to_le_bytes()).0.to_vec(),
        vec![0, 0x80, 0x80, 1, 0, 0, 5],
        digest(&70_000_u64.to_le_bytes()).0.to_vec(),
        // 2^20 - 86,384 after the end before; pack 0 to 1; at 77; 200 long.
        vec![0x90, 0xDD, 0x3A, 0x80, 0x20, 2, 0x9A, 1, 0xC8, 1],
        digest(&(1_u64 << 20).to_le_bytes()).0.to_vec(),
        vec![0x80, 0xE0, 0x3F, 0x80, 4, 1, 0, 0xB0, 0xEA, 1],
        digest(&(2_u64 << 20).to_le_bytes()).0.to_vec(),
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(ChunkTable::decode(&bytes).unwrap(), table);
}

#[test]
fn tables_that_lie_are_refused() {
    let packs = [pack(1, 1000), pack(2, 1000)];
    let new = |chunks: Vec<Chunk>| ChunkTable::new(1 << 20, &packs, chunks);
    let good = || chunk(4096, 4096, 0, 0, 10);
    let cases = [
        ("empty", vec![chunk(0, 0, 0, 0, 10)]),
        ("too long", vec![chunk(0, (256 << 10) + 1, 0, 0, 10)]),
        ("overlap", vec![good(), chunk(8191, 10, 0, 0, 10)]),
        ("out of order", vec![good(), chunk(0, 10, 0, 0, 10)]),
        ("past the end", vec![chunk((1 << 20) - 10, 11, 0, 0, 10)]),
        ("wraps", vec![chunk(u64::MAX - 2, 11, 0, 0, 10)]),
        ("no pack", vec![chunk(0, 10, 2, 0, 10)]),
        ("past its pack", vec![chunk(0, 10, 0, 990, 11)]),
        ("far past its pack", vec![chunk(0, 10, 0, u32::MAX, u32::MAX)]),
        ("empty frame", vec![chunk(0, 10, 0, 0, 0)]),
    ];
    for (what, chunks) in cases {
        let error = new(chunks).unwrap_err();
        assert_eq!(error.kind(), DiskErrorKind::Corrupt, "{what}: {error}");
    }
    for size in [0, MAX_PACK + 1] {
        assert!(ChunkTable::new(1 << 20, &[pack(1, size)], vec![chunk(0, 1, 0, 0, 1)]).is_err());
    }
}

#[test]
fn bytes_that_lie_are_refused() {
    let good = sample().encode();
    for cut in 0..good.len() {
        assert!(ChunkTable::decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    let edit = |at: usize, bytes: &[u8]| {
        let mut table = good.clone();
        table[at..at + bytes.len()].copy_from_slice(bytes);
        ChunkTable::decode(&table).unwrap_err()
    };
    assert_eq!(edit(7, &[2]).kind(), DiskErrorKind::Unsupported);
    assert!(edit(20, &u32::MAX.to_le_bytes()).to_string().contains("4294967295 chunks"));
    for (what, at, bytes) in [
        ("other bytes", 0, &b"X"[..]),
        ("billions of packs", 16, &[0xFF; 4]),
        ("one chunk less", 20, &[3]),
        ("one pack less", 16, &[1]),
        ("the disk is short", 8, &[0, 0, 1]),
        ("a pack of nothing", 24 + 32, &[0; 8]),
        ("a number in no shortest form", 104, &[0x80, 0]),
    ] {
        let error = edit(at, bytes);
        assert_eq!(error.kind(), DiskErrorKind::Corrupt, "{what}: {error}");
    }
    let mut more = good.clone();
    more.push(0);
    assert!(ChunkTable::decode(&more).is_err());
    // Packs that nothing uses, or in another order, would be the same disk under another name.
    let mut unused = good.clone();
    unused[16] = 3;
    unused.splice(104..104, good[64..104].iter().copied());
    assert!(ChunkTable::decode(&unused).unwrap_err().to_string().contains("no chunk uses"));
    let packs = [pack(1, 10), pack(2, 10)];
    let chunks = vec![chunk(0, 100, 0, 0, 10), chunk(100, 100, 1, 0, 10)];
    let mut bytes = ChunkTable::new(1 << 20, &packs, chunks).unwrap().encode();
    assert_eq!(bytes[104..109], [0, 100, 0, 0, 10]);
    bytes[106] = 2;
    assert!(ChunkTable::decode(&bytes).unwrap_err().to_string().contains("first use"));
}

#[test]
fn frames_are_proved() {
    let mut writer = FrameWriter::new(3).unwrap();
    let mut reader = FrameReader::new().unwrap();
    for bytes in [noise(6, 70_000), vec![7; 256 << 10], b"a".to_vec()] {
        let len = u32::try_from(bytes.len()).unwrap();
        let frame = writer.frame(&bytes).unwrap();
        assert_eq!(frame, FrameWriter::new(3).unwrap().frame(&bytes).unwrap());
        assert!(reader.chunk(&frame, len, &digest(&bytes)).unwrap() == bytes);
        for (len, digest, frame) in [
            (len, digest(b"other"), &frame[..]),
            (len + 1, digest(&bytes), &frame[..]),
            (len - 1, digest(&bytes), &frame[..]),
            (len, digest(&bytes), &frame[..frame.len() - 1]),
            (u32::MAX, digest(&bytes), &frame[..]),
            (len, digest(&bytes), b"no zstd"),
        ] {
            let error = reader.chunk(frame, len, &digest).unwrap_err();
            assert_eq!(error.kind(), DiskErrorKind::Corrupt, "{error}");
        }
    }
    // A gigabyte of zeros in a few bytes of zstd.
    let bomb = zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 19);
    let error = reader.chunk(&bomb.unwrap(), 4096, &digest(&[0; 4096])).unwrap_err();
    assert_eq!(error.kind(), DiskErrorKind::Corrupt);
}

/// Chunks of 64 KiB at 0 and from 1 MiB on, eight in a row.
fn row() -> ChunkTable {
    let at = |n: u64| if n == 0 { 0 } else { (1 << 20) + (n - 1) * 65_536 };
    let chunks = (0..9).map(|n| chunk(at(n), 65_536, 0, 0, 10)).collect();
    ChunkTable::new(4 << 20, &[pack(1, 10)], chunks).unwrap()
}

#[test]
fn a_delta_reads_whole_chunks() {
    const MIB: u64 = 1 << 20;
    const K64: u64 = 65_536;
    /// Extents, windows and the numbers of chunks kept.
    type Case = (Vec<(u64, u64)>, u64, Vec<(u64, u64)>, Vec<usize>);
    let all: Vec<usize> = (0..9).collect();
    let cases: Vec<Case> = vec![
        (vec![], 4 * MIB, vec![], all.clone()),
        (vec![(5, 1)], 4 * MIB, vec![(0, K64)], (1..9).collect()),
        // Between chunks: blocks alone.
        (vec![(K64 + 4097, 1)], 4 * MIB, vec![(K64 + 4096, 4096)], all.clone()),
        // Two chunks from the middle of each, and one touched twice.
        (
            vec![(MIB + K64 - 4096, 8192), (MIB + 3 * K64, 1), (MIB + 4 * K64 - 1, 1)],
            4 * MIB,
            vec![(MIB, 2 * K64), (MIB + 3 * K64, K64)],
            vec![0, 3, 5, 6, 7, 8],
        ),
        (vec![(0, 4 * MIB)], 4 * MIB, vec![(0, 4 * MIB)], vec![]),
        // A longer disk: what is new is zero, or named.
        (vec![(5 * MIB, 4096)], 8 * MIB, vec![(5 * MIB, 4096)], all.clone()),
        // A shorter one ends within a chunk.
        (vec![], MIB + 100, vec![(MIB, 100)], vec![0]),
        (vec![(0, 1), (3 * MIB, 1)], MIB, vec![(0, K64)], vec![]),
    ];
    for (extents, size, windows, kept) in cases {
        let what = format!("{extents:?} of {size}");
        let extents: Vec<_> =
            extents.into_iter().rev().map(|(offset, len)| Extent { offset, len }).collect();
        let delta = Delta::new(&row(), &extents, size);
        let found: Vec<_> = delta.windows().iter().map(|w| (w.offset, w.len)).collect();
        assert_eq!(found, windows, "{what}");
        assert_eq!(delta.kept().collect::<Vec<_>>(), kept, "{what}");
    }
}

#[test]
fn a_short_chunk_is_joined_again() {
    let chunks = vec![chunk(0, 50_000, 0, 0, 10), chunk(50_000, 2000, 0, 0, 10)];
    let table = ChunkTable::new(1 << 20, &[pack(1, 10)], chunks).unwrap();
    let delta = Delta::new(&table, &[Extent { offset: 0, len: 4096 }], 1 << 20);
    assert_eq!(delta.windows(), [Extent { offset: 0, len: 52_000 }]);
    assert_eq!(delta.kept().count(), 0);
}

prop_compose! {
    fn tables()(
        rows in prop::collection::vec((0..9000_u64, 1..=256_u32 << 10, 0..4_u32, 0..900_u32, 1..100_u32, any::<[u8; 32]>()), 0..60),
        more in 0..10_000_u64,
    ) -> ChunkTable {
        let mut end = 0;
        let chunks: Vec<Chunk> = rows.into_iter().map(|(gap, len, pack, at, stored, digest)| {
            let offset = end + gap;
            end = offset + u64::from(len);
            Chunk { offset, len, digest: ChunkDigest(digest), frame: Frame { pack, offset: at, len: stored } }
        }).collect();
        let packs = [1, 2, 3, 4].map(|seed| pack(seed, 1000));
        ChunkTable::new(end + more, &packs, chunks).unwrap()
    }
}

proptest! {
    #[test]
    fn tables_come_back(table in tables()) {
        let bytes = table.encode();
        let back = ChunkTable::decode(&bytes).unwrap();
        prop_assert_eq!(back.encode(), bytes);
        prop_assert_eq!(back, table);
    }

    #[test]
    fn damaged_tables_never_panic(
        table in tables(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = table.encode();
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(table) = ChunkTable::decode(bytes) {
                prop_assert_eq!(table.encode(), bytes);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut reader = FrameReader::new().unwrap();
        let _either = reader.chunk(&bytes, 100, &digest(b""));
        let mut zstd = vec![0x28, 0xB5, 0x2F, 0xFD];
        zstd.extend(bytes);
        let _either = reader.chunk(&zstd, 100, &digest(b""));
    }

    #[test]
    fn windows_and_kept_chunks_share_nothing(
        table in tables(),
        changed in prop::collection::vec((0..4_000_000_u64, 0..300_000_u64), 0..6),
        size in 0..4_000_000_u64,
    ) {
        let changed: Vec<_> =
            changed.into_iter().map(|(offset, len)| Extent { offset, len }).collect();
        let delta = Delta::new(&table, &changed, size);
        for pair in delta.windows().windows(2) {
            prop_assert!(pair[0].end() < pair[1].offset);
        }
        let mut kept = vec![false; table.chunks().len()];
        delta.kept().for_each(|number| kept[number] = true);
        for (chunk, kept) in table.chunks().iter().zip(kept) {
            let touched = delta.windows().iter().any(|window| {
                window.offset < chunk.end() && chunk.offset < window.end()
            });
            prop_assert_eq!(kept, !touched && chunk.end() <= size);
        }
        for extent in changed.iter().filter(|e| e.len > 0 && e.offset < size) {
            let end = extent.end().min(size);
            prop_assert!(delta.windows().iter().any(|w| w.offset <= extent.offset && end <= w.end()));
        }
    }
}

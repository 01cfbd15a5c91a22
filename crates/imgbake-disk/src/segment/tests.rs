use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::{DiskErrorKind, DiskSource, Extent, Result};

struct Memory(Vec<u8>);

impl DiskSource for Memory {
    fn virtual_size(&self) -> u64 {
        self.0.len() as u64
    }

    fn extents(&self) -> Result<Vec<Extent>> {
        // In odd pieces: extents need not be aligned.
        let half = self.virtual_size() / 2 + 1;
        Ok(vec![
            Extent { offset: 0, len: half },
            Extent { offset: half + 1, len: self.virtual_size() - half - 1 },
        ])
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[offset..offset + buf.len()]);
        Ok(())
    }
}

fn frame(records: &[(u64, u64, usize)]) -> Vec<u8> {
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for (offset, len, bytes) in records {
        zstd.write_all(&offset.to_le_bytes()).unwrap();
        zstd.write_all(&len.to_le_bytes()).unwrap();
        zstd.write_all(&vec![7; *bytes]).unwrap();
    }
    zstd.finish().unwrap()
}

#[test]
fn comes_back_whole() {
    let mut disk = Memory(vec![0; (3 << 20) + 512]);
    let last = disk.0.len() - 1;
    let half = disk.0.len() / 2 + 1;
    for at in [0, 5000, (1 << 20) - 1, 1 << 20, half - 1, half + 1, last] {
        disk.0[at] = 1;
    }
    let ranges = [(0, 1 << 20), (1 << 20, 1 << 20), (2 << 20, u64::MAX)];
    let mut back = vec![0; disk.0.len()];
    let mut held = 0;
    for (offset, len) in ranges {
        let (bytes, wrote) = encode(&disk, Extent { offset, len }, Vec::new(), 3).unwrap();
        let read = decode(&bytes[..], disk.virtual_size(), |at, part| {
            assert!(at >= offset && at - offset < len);
            let at = usize::try_from(at).unwrap();
            back[at..at + part.len()].copy_from_slice(part);
            Ok(())
        })
        .unwrap();
        assert_eq!(wrote, read);
        held += read.data_bytes;
    }
    assert!(back == disk.0);
    assert!(held < 10 * 4096);
}

#[test]
fn lies_are_refused() {
    use DiskErrorKind::{Corrupt, Truncated};
    let size = 1 << 20;
    let good = frame(&[(0, 512, 512), (4096, 1024, 1024)]);
    let mut trailing = good.clone();
    trailing.push(0);
    let mut flipped = good.clone();
    *flipped.first_mut().unwrap() ^= 1;
    let cases: [(&str, Vec<u8>, DiskErrorKind); 11] = [
        ("not aligned", frame(&[(1, 512, 512)]), Corrupt),
        ("odd length", frame(&[(0, 511, 511)]), Corrupt),
        ("empty record", frame(&[(0, 0, 0)]), Corrupt),
        ("out of order", frame(&[(512, 512, 512), (0, 512, 512)]), Corrupt),
        ("overlap", frame(&[(0, 1024, 1024), (512, 512, 512)]), Corrupt),
        ("past the end", frame(&[(size, 512, 512)]), Corrupt),
        ("wraps", frame(&[(u64::MAX - 511, 512, 512)]), Corrupt),
        ("too long", frame(&[(0, MAX_RECORD + 512, 0)]), Corrupt),
        ("short bytes", frame(&[(0, 1024, 512)]), Truncated),
        ("trailing", trailing, Corrupt),
        ("no zstd", flipped, Corrupt),
    ];
    for (what, bytes, kind) in cases {
        let error = decode(&bytes[..], size, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
    for cut in 0..good.len() {
        let error = decode(&good[..cut], size, |_, _| Ok(()));
        assert!(error.is_err(), "cut at {cut}");
    }
    assert_eq!(decode(&good[..], size, |_, _| Ok(())).unwrap().records, 2);
}

#[test]
fn a_bomb_stops_at_the_disks_size() {
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let mut plain = vec![0; 32 << 20];
    plain[8..16].copy_from_slice(&(16_u64 << 20).to_le_bytes());
    let mut got = 0;
    let error = decode(&zstd(&plain)[..], 1 << 20, |_, part| {
        got += part.len();
        Ok(())
    });
    assert_eq!(error.unwrap_err().kind(), DiskErrorKind::Corrupt);
    assert_eq!(got, 0);
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut writer = SegmentWriter::new(Vec::new(), 1 << 20, 1).unwrap();
    writer.record(4096, &[1; 512]).unwrap();
    for (offset, len) in [(0, 512), (4096, 512), (8192, 100), (8193, 512), (1 << 20, 512)] {
        assert!(writer.record(offset, &vec![1; len]).is_err(), "{offset} {len}");
    }
    assert!(SegmentWriter::new(Vec::new(), 100, 1).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_in_bounds(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        offset in 0..4_u64, len in 0..4_u64,
    ) {
        let mut bytes = Vec::new();
        bytes.extend((offset * 512).to_le_bytes());
        bytes.extend((len * 512).to_le_bytes());
        bytes.extend(&plain);
        let packed = zstd::bulk::compress(&bytes, 1).unwrap();
        let _either = decode(&packed[..], 1024, |at, part| {
            assert!(at + part.len() as u64 <= 1024);
            Ok(())
        });
        let _either = decode(&plain[..], 1024, |_, _| Ok(()));
    }
}

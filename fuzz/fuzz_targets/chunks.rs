//! Chunk tables, and the frames that they name.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::cell::RefCell;

use imgbake_disk::chunk::{
    self, Chunk, ChunkDigest, ChunkTable, Frame, FrameReader, FrameWriter, PackRef,
};
use imgbake_fuzz::{choose, seed, tagged};
use libfuzzer_sys::fuzz_target;

const LEN: u32 = 5000;

thread_local! {
    static READER: RefCell<FrameReader> = RefCell::new(FrameReader::new().unwrap());
}

fn sound() -> Vec<Vec<u8>> {
    let packs = [1, 2, 3].map(|seed| PackRef { sha256: [seed; 32], size: 1 << 20 });
    let table = |count: u32| {
        let chunks = (0..count).map(|n| Chunk {
            offset: u64::from(n) * 70_000,
            len: 60_000,
            digest: chunk::digest(&n.to_le_bytes()),
            frame: Frame { pack: n % 3, offset: n * 1000, len: 999 },
        });
        tagged(0, ChunkTable::new(1 << 30, &packs, chunks.collect()).unwrap().encode())
    };
    let mut writer = FrameWriter::new(3).unwrap();
    let zeros = writer.frame(&vec![0; LEN as usize]).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(LEN as usize).collect();
    let counted = writer.frame(&bytes).unwrap();
    vec![table(0), table(1), table(20), tagged(1, zeros), tagged(1, counted)]
}

fn table(bytes: &[u8]) {
    let Ok(table) = ChunkTable::decode(bytes) else { return };
    assert_eq!(table.encode(), bytes, "one table has one form");
    let mut end = 0;
    for chunk in table.chunks() {
        assert!(chunk.offset >= end && chunk.len > 0, "chunks are apart, and in order");
        end = chunk.end();
        let pack = &table.packs()[chunk.frame.pack as usize];
        assert!(chunk.frame.end() <= pack.size, "a frame is in its pack");
    }
    assert!(end <= table.virtual_size());
}

/// What a frame holds is not known here, and no digest is this one.
fn frame(bytes: &[u8]) {
    let nobody = ChunkDigest([0; 32]);
    READER.with_borrow_mut(|reader| reader.chunk(bytes, LEN, &nobody).map(|_| ()).unwrap_err());
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    match choose(input, 2) {
        Some((0, bytes)) => table(bytes),
        Some((_, bytes)) => frame(bytes),
        None => {}
    }
});

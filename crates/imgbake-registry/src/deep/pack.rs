//! One pack that is put together again, frame by frame: each is proved by its chunk's digest, and the whole
//! by the pack's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{Chunk, ChunkDigest, FrameReader, FrameWriter};

use super::repair;
use crate::Result;
use crate::files::io_at;
use crate::oci::Descriptor;
use crate::store::Store;

/// Bytes of a damaged file that are read at once: what lies about a bad sector is lost with it.
const PIECE: usize = 64 << 10;
/// What the pack's own frames are called among what chunks came from.
const OWN: &str = "its own chunks";

/// A frame that some version's chunk table says is in the pack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Frame {
    offset: u64,
    len: u32,
    /// The chunk's length and digest.
    pub(super) chunk: (u32, ChunkDigest),
}

/// What is known of a frame.
#[derive(Debug, Default)]
struct FrameState {
    /// Where versions' disks have the chunk.
    on_disks: BTreeSet<u64>,
    is_sound: bool,
}

/// A pack that is being put together.
pub(super) struct Pack<'a> {
    pub(super) blob: &'a Descriptor,
    file: File,
    frames: BTreeMap<Frame, FrameState>,
    /// Where its chunks came from, and how many.
    from: BTreeMap<String, usize>,
    /// Whether a chunk packed again has another length.
    is_foreign: bool,
}

impl<'a> Pack<'a> {
    /// Begins with what can be read of the damaged file.
    pub(super) fn begin(store: &Store, blob: &'a Descriptor) -> Result<Self> {
        let file = repair::scratch(store)?;
        let path = store.blobs.path(&blob.digest);
        file.set_len(blob.size).map_err(io_at("write", &path))?;
        if let Ok(old) = imgbake_runtime::regular::open(&path) {
            let mut piece = vec![0; PIECE];
            for offset in (0..blob.size).step_by(PIECE) {
                let count = old.read_at(&mut piece, offset).unwrap_or(0);
                let count = count.min(usize::try_from(blob.size - offset).unwrap_or(PIECE));
                file.write_all_at(&piece[..count], offset).map_err(io_at("write", &path))?;
            }
        }
        let (frames, from) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { blob, file, frames, from, is_foreign: false })
    }

    /// Adds a frame that a chunk table says is in the pack.
    pub(super) fn claim(&mut self, chunk: &Chunk) {
        let (offset, len) = (u64::from(chunk.frame.offset), chunk.frame.len);
        let frame = Frame { offset, len, chunk: (chunk.len, chunk.digest) };
        self.frames.entry(frame).or_default().on_disks.insert(chunk.offset);
    }

    /// Proves the frames that are there; gives the chunks of the others, with their places on disks.
    pub(super) fn prove(
        &mut self,
        reader: &mut FrameReader,
    ) -> Result<Vec<(Frame, BTreeSet<u64>)>> {
        let mut lacking = Vec::new();
        for (frame, known) in &mut self.frames {
            let bytes = read(&self.file, frame)?;
            known.is_sound = reader.chunk(&bytes, frame.chunk.0, &frame.chunk.1).is_ok();
            if !known.is_sound {
                lacking.push((frame.clone(), std::mem::take(&mut known.on_disks)));
            }
        }
        let sound = self.frames.len() - lacking.len();
        if sound > 0 {
            self.from.insert(OWN.to_owned(), sound);
        }
        Ok(lacking)
    }

    /// Writes a frame's bytes where they belong.
    pub(super) fn put(&mut self, frame: &Frame, bytes: &[u8], from: &str) -> Result<()> {
        if bytes.len() as u64 != u64::from(frame.len) {
            self.is_foreign = true;
            return Ok(());
        }
        self.file.write_all_at(bytes, frame.offset).map_err(io_at("write", copy()))?;
        if let Some(known) = self.frames.get_mut(frame) {
            known.is_sound = true;
        }
        *self.from.entry(from.to_owned()).or_default() += 1;
        Ok(())
    }

    /// Gives the pack its name, if all of it is right: then it is reported where that came from, else why it
    /// is not.
    pub(super) fn finish(
        mut self,
        store: &Store,
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
    ) -> Result<Result<String, String>> {
        let whole = repair::install(store, self.blob, &mut self.file)?
            || (self.pack_again(reader, writer)?
                && repair::install(store, self.blob, &mut self.file)?);
        if whole {
            let from: Vec<String> =
                self.from.iter().map(|(source, count)| format!("{source} ({count})")).collect();
            return Ok(Ok(from.join(", ")));
        }
        Ok(Err(self.why()))
    }

    /// Packs sound chunks again whose frames are not what packing gives: zstd looks over some bits of
    /// theirs. Shows whether there was one.
    fn pack_again(&mut self, reader: &mut FrameReader, writer: &mut FrameWriter) -> Result<bool> {
        let mut changed = false;
        for frame in self.frames.iter().filter(|(_, known)| known.is_sound).map(|(frame, _)| frame)
        {
            let bytes = read(&self.file, frame)?;
            let Ok(chunk) = reader.chunk(&bytes, frame.chunk.0, &frame.chunk.1) else { continue };
            let again = writer.frame(chunk).map_err(disk_error)?;
            if again.len() == bytes.len() && again != bytes {
                self.file.write_all_at(&again, frame.offset).map_err(io_at("write", copy()))?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Why it could not be put together.
    fn why(&self) -> String {
        let lacking = self.frames.values().filter(|known| !known.is_sound).count();
        let used: u64 = self.frames.keys().map(|frame| u64::from(frame.len)).sum();
        if self.frames.is_empty() {
            "no chunk table that can be read says what is in it".to_owned()
        } else if self.is_foreign {
            "its chunks, packed again, are other bytes: another zstd packed it".to_owned()
        } else if lacking > 0 {
            let all = self.frames.len();
            format!("{lacking} of its {all} chunks are in no other pack here, and in no seed")
        } else if used < self.blob.size {
            "bytes of it that no version uses are damaged: nothing tells what they were".to_owned()
        } else {
            "its chunks, packed again, are other bytes: another zstd packed it".to_owned()
        }
    }
}

/// A frame's bytes in a file.
fn read(file: &File, frame: &Frame) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(frame.len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, frame.offset).map_err(io_at("read", copy()))?;
    Ok(bytes)
}

fn copy() -> &'static Utf8Path {
    Utf8Path::new(repair::COPY)
}

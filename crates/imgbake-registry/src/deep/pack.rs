//! One pack that is put together again, frame by frame: each is proved by its chunk's digest, and the whole
//! by the pack's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{Chunk, ChunkDigest, FrameReader, FrameWriter};

use super::spare;
use crate::Result;
use crate::files::io_at;
use crate::oci::Descriptor;
use crate::store::Store;

/// Bytes of a damaged file that are read at once: what lies about a bad sector is lost with it.
const PIECE: usize = 64 << 10;
/// What the pack's own frames are called among the places where chunks came from.
const OWN: &str = "its own chunks";

/// A frame that some version's chunk table says is in the pack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    offset: u64,
    len: u32,
    /// The chunk's length and digest.
    pub(super) chunk: (u32, ChunkDigest),
}

/// What is known of a place.
#[derive(Debug, Default)]
struct Known {
    /// Where versions' disks have the chunk.
    on_disks: BTreeSet<u64>,
    is_sound: bool,
}

/// A pack that is being put together.
pub(super) struct Pack<'a> {
    pub(super) blob: &'a Descriptor,
    file: File,
    places: BTreeMap<Place, Known>,
    /// Where its chunks came from, and how many.
    from: BTreeMap<String, usize>,
    /// Whether a chunk packed again has another length.
    is_foreign: bool,
}

impl<'a> Pack<'a> {
    /// Begins with what can be read of the damaged file.
    pub(super) fn begin(store: &Store, blob: &'a Descriptor) -> Result<Self> {
        let file = spare::scratch(store)?;
        let path = store.blobs.path(&blob.digest);
        file.set_len(blob.size).map_err(io_at("write", &path))?;
        if let Ok(old) = File::open(&path) {
            let mut piece = vec![0; PIECE];
            for offset in (0..blob.size).step_by(PIECE) {
                let count = old.read_at(&mut piece, offset).unwrap_or(0);
                let count = count.min(usize::try_from(blob.size - offset).unwrap_or(PIECE));
                file.write_all_at(&piece[..count], offset).map_err(io_at("write", &path))?;
            }
        }
        let (places, from) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { blob, file, places, from, is_foreign: false })
    }

    /// Adds a frame that a chunk table says is in the pack.
    pub(super) fn claim(&mut self, chunk: &Chunk) {
        let (offset, len) = (u64::from(chunk.frame.offset), chunk.frame.len);
        let place = Place { offset, len, chunk: (chunk.len, chunk.digest) };
        self.places.entry(place).or_default().on_disks.insert(chunk.offset);
    }

    /// Proves the frames that are there; gives the chunks of the others, with their places on disks.
    pub(super) fn prove(
        &mut self,
        reader: &mut FrameReader,
    ) -> Result<Vec<(Place, BTreeSet<u64>)>> {
        let mut lacking = Vec::new();
        for (place, known) in &mut self.places {
            let frame = read(&self.file, place)?;
            known.is_sound = reader.chunk(&frame, place.chunk.0, &place.chunk.1).is_ok();
            if !known.is_sound {
                lacking.push((place.clone(), std::mem::take(&mut known.on_disks)));
            }
        }
        let sound = self.places.len() - lacking.len();
        if sound > 0 {
            self.from.insert(OWN.to_owned(), sound);
        }
        Ok(lacking)
    }

    /// Puts a frame in its place.
    pub(super) fn put(&mut self, place: &Place, frame: &[u8], from: &str) -> Result<()> {
        if frame.len() as u64 != u64::from(place.len) {
            self.is_foreign = true;
            return Ok(());
        }
        self.file.write_all_at(frame, place.offset).map_err(io_at("write", copy()))?;
        if let Some(known) = self.places.get_mut(place) {
            known.is_sound = true;
        }
        *self.from.entry(from.to_owned()).or_default() += 1;
        Ok(())
    }

    /// Gives the pack its name, if all of it is right: then it is told where that came from, else why it
    /// is not.
    pub(super) fn settle(
        mut self,
        store: &Store,
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
    ) -> Result<Result<String, String>> {
        let whole = spare::install(store, self.blob, &mut self.file)?
            || (self.pack_again(reader, writer)?
                && spare::install(store, self.blob, &mut self.file)?);
        if whole {
            let from: Vec<String> =
                self.from.iter().map(|(place, count)| format!("{place} ({count})")).collect();
            return Ok(Ok(from.join(", ")));
        }
        Ok(Err(self.why()))
    }

    /// Packs sound chunks again whose frames are not what packing gives: zstd looks over some bits of
    /// theirs. Tells whether there was one.
    fn pack_again(&mut self, reader: &mut FrameReader, writer: &mut FrameWriter) -> Result<bool> {
        let mut changed = false;
        for place in self.places.iter().filter(|(_, known)| known.is_sound).map(|(place, _)| place)
        {
            let frame = read(&self.file, place)?;
            let Ok(bytes) = reader.chunk(&frame, place.chunk.0, &place.chunk.1) else { continue };
            let again = writer.frame(bytes).map_err(disk_error)?;
            if again.len() == frame.len() && again != frame {
                self.file.write_all_at(&again, place.offset).map_err(io_at("write", copy()))?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Why it could not be put together.
    fn why(&self) -> String {
        let lacking = self.places.values().filter(|known| !known.is_sound).count();
        let used: u64 = self.places.keys().map(|place| u64::from(place.len)).sum();
        if self.places.is_empty() {
            "no chunk table that can be read says what is in it".to_owned()
        } else if self.is_foreign {
            "its chunks, packed again, are other bytes: another zstd packed it".to_owned()
        } else if lacking > 0 {
            let all = self.places.len();
            format!("{lacking} of its {all} chunks are in no other pack here, and in no seed")
        } else if used < self.blob.size {
            "bytes of it that no version uses are damaged: nothing tells what they were".to_owned()
        } else {
            "its chunks, packed again, are other bytes: another zstd packed it".to_owned()
        }
    }
}

/// The bytes at a place.
fn read(file: &File, place: &Place) -> Result<Vec<u8>> {
    let mut frame = vec![0; usize::try_from(place.len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut frame, place.offset).map_err(io_at("read", copy()))?;
    Ok(frame)
}

fn copy() -> &'static Utf8Path {
    Utf8Path::new(spare::COPY)
}

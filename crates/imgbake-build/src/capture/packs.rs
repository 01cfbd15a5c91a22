//! Packs on their way into files: frames, one after the other.

use std::fs::File;
use std::io::{BufWriter, Write};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::chunk::{Frame, MAX_PACK};

use super::background::{Digester, Flusher, Written, written};
use crate::BuildError;

/// So many new bytes of a pack are sent to the disk, while others are made: who needs the packs durable
/// then waits for the last ones alone.
const FLUSH: u64 = 8 << 20;

/// Writes packs, one at a time.
#[derive(Debug)]
pub(super) struct PackWriter {
    folder: Utf8PathBuf,
    open: Option<Open>,
    /// The number of the open pack, or of the next one.
    number: usize,
    digester: Option<Digester>,
    flusher: Option<Flusher>,
}

#[derive(Debug)]
struct Open {
    path: Utf8PathBuf,
    out: BufWriter<File>,
    size: u64,
    /// How many of its bytes were sent to the disk.
    flushed: u64,
}

impl PackWriter {
    /// Writes packs into a folder; they are numbered from `first` on.
    pub(super) fn new(folder: &Utf8Path, first: usize) -> Self {
        Self { folder: folder.to_owned(), open: None, number: first, digester: None, flusher: None }
    }

    /// Adds a frame; gives its place.
    pub(super) fn add(&mut self, frame: &[u8]) -> Result<Frame, BuildError> {
        let len = frame.len() as u64;
        if self.open.as_ref().is_some_and(|open| open.size + len > MAX_PACK) {
            self.end()?;
        }
        let number = self.number;
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::create(self.folder.join(format!("pack-{number:06}")))?),
        };
        open.out.write_all(frame).map_err(written(&open.path))?;
        let offset = open.size;
        open.size += len;
        if open.size - open.flushed >= FLUSH {
            open.flushed = open.size;
            let file = open.out.get_ref().try_clone().map_err(written(&open.path))?;
            self.flusher.get_or_insert_with(Flusher::start).flush(file, &open.path);
        }
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Frame { pack: small(number as u64), offset: small(offset), len: small(len) })
    }

    /// Ends the last pack; gives all.
    pub(super) fn finish(mut self) -> Result<Vec<Written>, BuildError> {
        self.end()?;
        let written = self.digester.map_or(Ok(Vec::new()), Digester::finish)?;
        self.flusher.map_or(Ok(()), Flusher::finish)?;
        Ok(written)
    }

    fn end(&mut self) -> Result<(), BuildError> {
        let Some(Open { path, out, size, .. }) = self.open.take() else { return Ok(()) };
        out.into_inner().map_err(|error| written(&path)(error.into_error()))?;
        self.number += 1;
        self.digester.get_or_insert_with(Digester::start).pack(path, size);
        Ok(())
    }
}

impl Open {
    fn create(path: Utf8PathBuf) -> Result<Self, BuildError> {
        let file = File::create_new(&path).map_err(written(&path))?;
        Ok(Self { path, out: BufWriter::with_capacity(1 << 18, file), size: 0, flushed: 0 })
    }
}

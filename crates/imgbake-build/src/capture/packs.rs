//! Packs on their way into a file: frames, one after the other.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_disk::chunk::{Frame, MAX_PACK, PackRef};
use imgbake_runtime::RuntimeError;
use imgbake_types::Digest;
use sha2::Digest as _;

use crate::{BlobFile, BuildError};

/// A pack that is written, under both of its names.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) reference: PackRef,
    pub(super) blob: BlobFile,
}

/// Writes packs, one at a time.
#[derive(Debug)]
pub(super) struct PackWriter {
    folder: Utf8PathBuf,
    done: Vec<Written>,
    open: Option<Open>,
    /// The number of the first pack.
    first: usize,
}

#[derive(Debug)]
struct Open {
    path: Utf8PathBuf,
    out: BufWriter<HashingFile>,
    size: u64,
}

impl PackWriter {
    /// Writes packs into a folder; they are numbered from `first` on.
    pub(super) fn new(folder: &Utf8Path, first: usize) -> Self {
        Self { folder: folder.to_owned(), done: Vec::new(), open: None, first }
    }

    /// Adds a frame; gives its place.
    pub(super) fn add(&mut self, frame: &[u8]) -> Result<Frame, BuildError> {
        let len = frame.len() as u64;
        if self.open.as_ref().is_some_and(|open| open.size + len > MAX_PACK) {
            self.end()?;
        }
        let number = self.first + self.done.len();
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::create(self.folder.join(format!("pack-{number:06}")))?),
        };
        open.out.write_all(frame).map_err(written(&open.path))?;
        let offset = open.size;
        open.size += len;
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Frame { pack: small(number as u64), offset: small(offset), len: small(len) })
    }

    /// Ends the last pack; gives all.
    pub(super) fn finish(mut self) -> Result<Vec<Written>, BuildError> {
        self.end()?;
        Ok(self.done)
    }

    fn end(&mut self) -> Result<(), BuildError> {
        let Some(Open { path, out, size }) = self.open.take() else { return Ok(()) };
        let file = out.into_inner().map_err(|error| written(&path)(error.into_error()))?;
        let sha256: [u8; 32] = file.sha256.finalize().into();
        self.done.push(Written {
            reference: PackRef { sha256, size },
            blob: BlobFile { path, digest: Digest::from_sha256(&sha256), size },
        });
        Ok(())
    }
}

impl Open {
    fn create(path: Utf8PathBuf) -> Result<Self, BuildError> {
        let file = File::create_new(&path).map_err(written(&path))?;
        let out = BufWriter::with_capacity(1 << 18, HashingFile::new(file));
        Ok(Self { path, out, size: 0 })
    }
}

/// For `map_err`: a full file system is told with what a pack needs.
fn written(path: &Utf8Path) -> impl FnOnce(io::Error) -> BuildError + '_ {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            imgbake_runtime::space::full(path, Some(MAX_PACK)).into()
        }
        _ => RuntimeError::io("write", path, error).into(),
    }
}

/// A file that hashes what is written to it.
#[derive(Debug)]
struct HashingFile {
    file: File,
    sha256: sha2::Sha256,
}

impl HashingFile {
    fn new(file: File) -> Self {
        Self { file, sha256: sha2::Sha256::new() }
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

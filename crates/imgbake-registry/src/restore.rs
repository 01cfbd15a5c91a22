//! What is stored becomes a disk again: two threads unpack segments, a third hashes what they wrote.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use camino::Utf8PathBuf;
use imgbake_build::BuildError;
use imgbake_disk::{DiskError, DiskErrorKind, segment};
use imgbake_runtime::space;
use imgbake_types::Digest;
use imgbake_types::record::DiskRecord;
use sha2::Digest as _;

use crate::Result;
use crate::blobs::{broken, missing};
use crate::files::{damaged, io_at};
use crate::oci::{Config, Descriptor, SEGMENT};
use crate::store::Store;
use crate::versions::by_digest;

mod hash;

/// Threads that unpack; hashing has one of its own.
const UNPACKERS: usize = 2;

/// One restore.
struct Restore<'a> {
    store: &'a Store,
    /// What it is the disk of, for errors.
    label: String,
    disk: DiskRecord,
    layers: Vec<Descriptor>,
    into: &'a File,
    /// The same file, for reading: `into` may be open for writing only.
    written: File,
    /// Where `into` is, for errors.
    path: Utf8PathBuf,
    stop: &'a AtomicBool,
    next: AtomicUsize,
}

/// What a segment covered.
struct Done {
    number: usize,
    /// Its first record's offset and its last record's end; `None` where it has no record.
    range: Option<(u64, u64)>,
}

/// A disk as it is stored.
pub(crate) struct Packed {
    /// What it is the disk of, for errors.
    pub(crate) label: String,
    pub(crate) disk: DiskRecord,
    /// Its segments, in the disk's order.
    pub(crate) layers: Vec<Descriptor>,
}

/// Writes a version's disk into an empty file and proves it against the version's digest. Setting
/// `stop` ends it early, with an error.
pub(crate) fn restore(
    store: &Store,
    digest: &Digest,
    into: &File,
    progress: Box<dyn FnMut(u64) + Send>,
    stop: &AtomicBool,
) -> Result<()> {
    let (label, manifest) = by_digest(store, &store.index()?, digest)?;
    let config: Config = store.blobs.json(&manifest.config, &label)?;
    let packed = Packed { label, disk: config.image.disk, layers: manifest.layers };
    unpack(store, packed, into, progress, stop)
}

/// Writes a stored disk into an empty file in the same way.
pub(crate) fn unpack(
    store: &Store,
    packed: Packed,
    into: &File,
    progress: Box<dyn FnMut(u64) + Send>,
    stop: &AtomicBool,
) -> Result<()> {
    let restore = Restore::prepare(store, packed, into, stop)?;
    let (sender, receiver) = mpsc::channel();
    let restore = &restore;
    let (hashed, unpacked) = std::thread::scope(|scope| {
        let unpackers: Vec<_> = (0..UNPACKERS)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || restore.unpack(&sender))
            })
            .collect();
        drop(sender);
        let hashed = hash::Hasher::new(restore, progress).run(&receiver);
        if hashed.is_err() {
            restore.stop.store(true, Ordering::Relaxed);
        }
        let crashed =
            |_| Err(damaged(format!("unpacking {} ended before it was done", restore.label)));
        let unpacked: Vec<_> =
            unpackers.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect();
        (hashed, unpacked)
    });
    // A broken segment is why the hash is wrong or missing: it is told first.
    unpacked.into_iter().collect::<Result<()>>()?;
    let found =
        hashed?.ok_or_else(|| damaged(format!("{} was not unpacked to its end", restore.label)))?;
    if found == restore.disk.sha256 {
        return Ok(());
    }
    let (label, expected) = (&restore.label, &restore.disk.sha256);
    Err(damaged(format!(
        "the disk of {label} is not what was captured: it is {found}, captured was {expected}"
    ))
    .help("the version is damaged, though each blob is sound: build the image again"))
}

impl<'a> Restore<'a> {
    fn prepare(
        store: &'a Store,
        packed: Packed,
        into: &'a File,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let Packed { label, disk, layers } = packed;
        if let Some(layer) = layers.iter().find(|layer| layer.media_type != SEGMENT) {
            return Err(damaged(format!(
                "{label} has a layer of the type {}: imgbake cannot unpack it",
                layer.media_type
            ))
            .help("it was made by a newer imgbake"));
        }
        let path = path_of(into);
        if into.metadata().map_err(io_at("read", &path))?.len() != 0 {
            return Err(damaged(format!(
                "{path} is not empty: a disk is unpacked into an empty file"
            )));
        }
        space::require(&path, disk.data_bytes)?;
        let written = File::open(link_of(into)).map_err(io_at("read", &path))?;
        into.set_len(disk.virtual_size).map_err(io_at("size", &path))?;
        let next = AtomicUsize::new(0);
        Ok(Self { store, label, disk, layers, into, written, path, stop, next })
    }

    /// Unpacks segments until none is left.
    fn unpack(&self, done: &mpsc::Sender<Done>) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = self.layers.get(number) else { return Ok(()) };
            let range =
                self.segment(layer).inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
            // Nobody listens any more once the hasher failed: its error is told.
            let _ = done.send(Done { number, range });
        }
        Ok(())
    }

    fn segment(&self, layer: &Descriptor) -> Result<Option<(u64, u64)>> {
        let path = self.store.blobs.path(&layer.digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(missing(&self.label, &layer.digest, &path));
            }
            opened => opened.map_err(io_at("open", &path))?,
        };
        let size = file.metadata().map_err(io_at("read", &path))?.len();
        if size != layer.size {
            let why = format!("it has {size} bytes, not {}", layer.size);
            return Err(broken(&self.label, &layer.digest, &path, &why));
        }
        let mut reader = Hashing { file, sha256: sha2::Sha256::new() };
        let mut range: Option<(u64, u64)> = None;
        let mut stopped = false;
        let decoded = segment::decode(
            BufReader::with_capacity(1 << 18, &mut reader),
            self.disk.virtual_size,
            |at, bytes| {
                if self.stop.load(Ordering::Relaxed) {
                    stopped = true;
                    return Err(DiskError::new(DiskErrorKind::Io, "another segment failed"));
                }
                self.into
                    .write_all_at(bytes, at)
                    .map_err(|error| DiskError::io(format!("writing {}", self.path), error))?;
                range = Some((range.map_or(at, |(start, _)| start), at + bytes.len() as u64));
                Ok(())
            },
        );
        if stopped {
            return Ok(None); // the other thread's error is told
        }
        // Foreign bytes fail in many ways: first of all they are not the blob.
        if !matches!(&decoded, Err(error) if error.kind() == DiskErrorKind::Full) {
            let found = reader.finish().map_err(io_at("read", &path))?;
            if found != layer.digest {
                return Err(broken(
                    &self.label,
                    &layer.digest,
                    &path,
                    &format!("its bytes are {found}"),
                ));
            }
        }
        decoded.map(|_| range).map_err(|error| self.decode_error(error, layer))
    }

    fn decode_error(&self, error: DiskError, layer: &Descriptor) -> BuildError {
        if error.kind() == DiskErrorKind::Full {
            return space::full(&self.path, Some(self.disk.data_bytes)).into();
        }
        damaged(format!("cannot unpack the blob {} of {}", layer.digest, self.label)).because(error)
    }
}

/// What opens an open file once more (proc(5), `/proc/pid/fd`).
fn link_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The path of an open file, as far as the system tells it.
fn path_of(file: &File) -> Utf8PathBuf {
    let path = std::fs::read_link(link_of(file))
        .ok()
        .and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    path.unwrap_or_else(|| Utf8PathBuf::from("the disk"))
}

/// Hashes what is read.
struct Hashing {
    file: File,
    sha256: sha2::Sha256,
}

impl Hashing {
    /// The digest of the whole file: what was not read yet is read now.
    fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_sha256(&self.sha256.finalize()))
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sha256.update(&buffer[..count]);
        Ok(count)
    }
}

//! What is here already: in the file itself, and in the local layout.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{Chunk, ChunkDigest, ChunkTable, Frame, FrameReader, PackRef, digest};
use imgbake_types::Digest;
use rustix::fs::{SeekFrom, seek};

use super::sink::Sink;
use super::watch::Watch;
use crate::files::io_at;
use crate::lease::{self, Lease};
use crate::restore::{LocalPacks, PackSource, Packed, coalesce};
use crate::store::Store;
use crate::version::version_index;
use crate::{Result, index::Tagged};

/// Threads that take chunks from files.
const THREADS: usize = 4;
/// Chunks that a thread looks at before it takes others.
const BLOCK: usize = 64;
/// The most of a local pack that is read at once.
const MOST: u64 = 4 << 20;
/// Versions in a row that may have nothing before no more are read.
const BARREN: usize = 64;

/// Proves what is in the file at each chunk's place. Gives the bytes that are right.
pub(super) fn kept(sink: &Sink<'_>, watch: &Watch) -> Result<u64> {
    let (output, chunks) = (sink.output(), sink.table().chunks());
    let right = AtomicU64::new(0);
    watch.share(THREADS, chunks.len().div_ceil(BLOCK), |next| {
        let mut buffer = Vec::new();
        while let Some(block) = next() {
            let first = block * BLOCK;
            for (at, chunk) in chunks.iter().enumerate().skip(first).take(BLOCK) {
                // All of it is a hole: nothing came there.
                if seek(&output.written, SeekFrom::Data(chunk.offset)).map_or_else(
                    |error| error == rustix::io::Errno::NXIO,
                    |data| data >= chunk.end(),
                ) {
                    continue;
                }
                buffer.resize(usize::try_from(chunk.len).unwrap_or(usize::MAX), 0);
                output
                    .written
                    .read_exact_at(&mut buffer, chunk.offset)
                    .map_err(io_at("read", &output.path))?;
                if digest(&buffer) == chunk.digest {
                    sink.fill(at);
                    right.fetch_add(u64::from(chunk.len), Ordering::Relaxed);
                }
            }
        }
        Ok(())
    })?;
    Ok(right.into_inner())
}

/// Takes what versions of the local layout have. Gives bytes of the disk.
pub(super) fn local(store: &Store, name: &str, sink: &Sink<'_>, watch: &Watch) -> Result<u64> {
    let found = find(store, name, sink, watch)?;
    let packs = LocalPacks::new(store, "the local registry");
    let ranges = coalesce(&found.chunks, packs.gap(), MOST);
    let taken = AtomicU64::new(0);
    watch.share(THREADS, ranges.len(), |next| {
        let mut reader = FrameReader::new().map_err(disk_error)?;
        let mut buffer = Vec::new();
        while let Some(number) = next() {
            let range = &ranges[number];
            let pack = &found.packs[usize::try_from(range.pack).unwrap_or(usize::MAX)];
            buffer.resize(usize::try_from(range.len).unwrap_or(usize::MAX), 0);
            if let Err(error) = packs.read(pack, range.offset, &mut buffer) {
                tracing::warn!(%error, "a local pack is not used");
                continue;
            }
            for chunk in range.chunks.iter().map(|number| &found.chunks[*number]) {
                let at = |offset: u64| usize::try_from(offset - range.offset).unwrap_or(usize::MAX);
                let frame = &buffer[at(u64::from(chunk.frame.offset))..at(chunk.frame.end())];
                match reader.chunk(frame, chunk.len, &chunk.digest) {
                    Ok(bytes) => {
                        taken.fetch_add(sink.put(&chunk.digest, bytes)?, Ordering::Relaxed);
                    }
                    Err(error) => tracing::warn!(%error, "a local chunk is not used"),
                }
            }
        }
        Ok(())
    })?;
    Ok(taken.into_inner())
}

/// Wanted chunks in local packs.
#[derive(Default)]
struct Found {
    packs: Vec<PackRef>,
    /// With places in the packs above.
    chunks: Vec<Chunk>,
    /// The digests and lengths of these chunks.
    taken: HashSet<(ChunkDigest, u32)>,
    /// They keep the packs while they are read.
    leases: Vec<Lease>,
}

/// Looks through the tables of local versions, the image's own first, the newest of each first, until
/// nothing is wanted any more.
fn find(store: &Store, name: &str, sink: &Sink<'_>, watch: &Watch) -> Result<Found> {
    let mut found = Found::default();
    let wanted = sink.wanted().len();
    let index = store.index()?;
    let mut entries: Vec<Tagged<'_>> = index.tagged().collect();
    entries.reverse();
    entries.sort_by_key(|entry| entry.name != name);
    let (mut seen, mut barren) = (HashSet::new(), 0);
    for entry in entries {
        watch.go_on()?;
        if found.chunks.len() == wanted || barren == BARREN {
            break;
        }
        if !seen.insert(&entry.descriptor.digest) {
            continue;
        }
        let lease = lease::take(store, &entry.descriptor.digest)?;
        let before = found.chunks.len();
        match table(store, entry) {
            Ok(None) => continue,
            Ok(Some(table)) => found.add(store, &table, sink),
            Err(error) => tracing::warn!(%error, "a version's chunks are not used"),
        }
        if found.chunks.len() > before {
            found.leases.extend(lease);
            barren = 0;
        } else {
            barren += 1;
        }
    }
    Ok(found)
}

/// The table of the version that an entry names; `None` where it names something else.
fn table(store: &Store, entry: Tagged<'_>) -> Result<Option<ChunkTable>> {
    let Some(version) = version_index(store, entry)? else { return Ok(None) };
    Packed::of_version(store, entry.label(), &version)?.table(store).map(Some)
}

impl Found {
    /// Adds what is wanted of a table, so far as its packs are there.
    fn add(&mut self, store: &Store, table: &ChunkTable, sink: &Sink<'_>) {
        let mut numbers: HashMap<u32, Option<u32>> = HashMap::new();
        for chunk in table.chunks() {
            let len = usize::try_from(chunk.len).unwrap_or(usize::MAX);
            let key = (chunk.digest, chunk.len);
            if self.taken.contains(&key) || !sink.wants(&chunk.digest, len) {
                continue;
            }
            let old = chunk.frame.pack;
            let pack = *numbers.entry(old).or_insert_with(|| {
                let pack = table.packs()[usize::try_from(old).unwrap_or(usize::MAX)];
                store.blobs.has(&Digest::from_sha256(&pack.sha256), pack.size).then(|| {
                    self.packs.push(pack);
                    u32::try_from(self.packs.len() - 1).unwrap_or(u32::MAX)
                })
            });
            if let Some(pack) = pack {
                self.taken.insert(key);
                self.chunks.push(Chunk { frame: Frame { pack, ..chunk.frame }, ..*chunk });
            }
        }
    }
}

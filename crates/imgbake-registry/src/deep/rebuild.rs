//! Damaged packs are put together again: from their own sound frames, and from chunks that other packs and
//! seeds have. Frames are made as capture makes them, so that the same chunk is the same frame.

use std::collections::{BTreeSet, HashMap};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::BuildError;
use imgbake_build::capture::disk_error;
use imgbake_disk::chunk::{ChunkDigest, ChunkTable, FrameReader, FrameWriter, LEVEL, digest};
use imgbake_runtime::space;
use imgbake_types::Digest;

use super::pack::{Frame, Pack};
use super::report::Damage;
use super::watch::Watch;
use crate::Result;
use crate::index::Tagged;
use crate::oci::{Descriptor, PACK};
use crate::problem::with_causes;
use crate::restore::{LocalPacks, PackSource, Packed};
use crate::seed::{SeedDisk, Uncut};
use crate::store::Store;
use crate::version::version_index;

/// Packs that are put together at once: each has an open file, and each such row of them reads the
/// seeds again.
const AT_ONCE: usize = 256;
/// What other packs are called among what chunks came from.
const OTHERS: &str = "other packs";

/// Puts packs together that are damaged still, and says so; or why that cannot be.
pub(super) fn packs(
    store: &Store,
    damaged: &mut [(&Descriptor, Damage)],
    seeds: &[Utf8PathBuf],
    watch: &Watch<'_>,
) -> Result<()> {
    let mut broken: Vec<_> = damaged
        .iter_mut()
        .filter(|(blob, damage)| blob.media_type == PACK && damage.repaired_from.is_none())
        .collect();
    for row in broken.chunks_mut(AT_ONCE) {
        let needed = row.iter().map(|(blob, _)| blob.size).sum();
        space::require(store.root(), needed)?;
        let mut rebuild = Rebuild::begin(store, row.iter().map(|(blob, _)| *blob))?;
        let unread = rebuild.fill(store, seeds, watch)?;
        let Rebuild { packs, mut reader, mut writer, .. } = rebuild;
        for (pack, (_, damage)) in packs.into_iter().zip(row) {
            match pack.finish(store, &mut reader, &mut writer)? {
                Ok(from) => damage.repaired_from = Some(from),
                Err(why) => {
                    damage.also(&why);
                    for error in &unread {
                        damage.also(&with_causes(error));
                    }
                }
            }
        }
    }
    Ok(())
}

/// A chunk that is looked for.
#[derive(Default)]
struct Lacking {
    /// The packs that need it, by number, and where in them.
    frames: Vec<(usize, Frame)>,
    /// Where versions' disks have it.
    on_disks: BTreeSet<u64>,
}

/// Packs that are put together.
struct Rebuild<'a> {
    packs: Vec<Pack<'a>>,
    lacking: HashMap<(u32, ChunkDigest), Lacking>,
    reader: FrameReader,
    writer: FrameWriter,
}

impl<'a> Rebuild<'a> {
    fn begin(store: &Store, blobs: impl Iterator<Item = &'a Descriptor>) -> Result<Self> {
        Ok(Self {
            packs: blobs.map(|blob| Pack::begin(store, blob)).collect::<Result<_>>()?,
            lacking: HashMap::new(),
            reader: FrameReader::new().map_err(disk_error)?,
            writer: FrameWriter::new(LEVEL).map_err(disk_error)?,
        })
    }

    /// Looks for chunks wherever they may be. Gives the errors of seeds that cannot be read.
    fn fill(
        &mut self,
        store: &Store,
        seeds: &[Utf8PathBuf],
        watch: &Watch<'_>,
    ) -> Result<Vec<BuildError>> {
        let numbers: HashMap<Digest, usize> = self
            .packs
            .iter()
            .enumerate()
            .map(|(number, pack)| (pack.blob.digest.clone(), number))
            .collect();
        let names =
            |packed: &Packed| packed.layers.iter().any(|layer| numbers.contains_key(&layer.digest));
        each_table(store, watch, names, |table| {
            self.claim(&numbers, table);
            Ok(())
        })?;
        self.prove()?;
        if !self.lacking.is_empty() {
            each_table(store, watch, |_| true, |table| self.take_from_packs(store, table))?;
        }
        let mut unread = Vec::new();
        for seed in seeds {
            if self.lacking.is_empty() {
                break;
            }
            match self.take_from_seed(seed, watch) {
                Ok(()) => {}
                Err(Uncut::Seed(error)) => unread.push(error),
                Err(Uncut::Taker(error)) => return Err(error),
            }
        }
        Ok(unread)
    }

    /// Adds what a version's table says is in the packs.
    fn claim(&mut self, numbers: &HashMap<Digest, usize>, table: &ChunkTable) {
        let packs: Vec<Option<usize>> = table
            .packs()
            .iter()
            .map(|pack| numbers.get(&Digest::from_sha256(&pack.sha256)).copied())
            .collect();
        for chunk in table.chunks() {
            let pack = usize::try_from(chunk.frame.pack).ok().and_then(|number| packs[number]);
            if let Some(number) = pack {
                self.packs[number].claim(chunk);
            }
        }
    }

    fn prove(&mut self) -> Result<()> {
        for (number, pack) in self.packs.iter_mut().enumerate() {
            for (frame, on_disks) in pack.prove(&mut self.reader)? {
                let lacking = self.lacking.entry(frame.chunk).or_default();
                lacking.frames.push((number, frame));
                lacking.on_disks.extend(on_disks);
            }
        }
        Ok(())
    }

    /// Puts a chunk wherever it lacks; its bytes are proved. Shows whether others lack still.
    fn put(&mut self, key: (u32, ChunkDigest), bytes: &[u8], from: &str) -> Result<bool> {
        if let Some(lacking) = self.lacking.remove(&key) {
            let bytes = self.writer.frame(bytes).map_err(disk_error)?;
            for (number, frame) in lacking.frames {
                self.packs[number].put(&frame, &bytes, from)?;
            }
        }
        Ok(!self.lacking.is_empty())
    }

    /// Takes what a version's packs have. What cannot be read of them is no help.
    fn take_from_packs(&mut self, store: &Store, table: &ChunkTable) -> Result<()> {
        let packs = LocalPacks::new(store, "the local registry");
        for chunk in table.chunks() {
            let key = (chunk.len, chunk.digest);
            if !self.lacking.contains_key(&key) {
                continue;
            }
            let pack = &table.packs()[usize::try_from(chunk.frame.pack).unwrap_or(usize::MAX)];
            let mut frame = vec![0; usize::try_from(chunk.frame.len).unwrap_or(usize::MAX)];
            if packs.read(pack, u64::from(chunk.frame.offset), &mut frame).is_err() {
                continue;
            }
            let Ok(bytes) = self.reader.chunk(&frame, chunk.len, &chunk.digest) else { continue };
            let bytes = bytes.to_vec();
            self.put(key, &bytes, OTHERS)?;
        }
        Ok(())
    }

    /// Takes what a seed has: first from where the chunks were on their disks, since a disk that was cut
    /// around its changes is not cut so again; then from wherever the cutter finds them.
    fn take_from_seed(&mut self, path: &Utf8Path, watch: &Watch<'_>) -> Result<(), Uncut> {
        let seed = SeedDisk::open(path).map_err(Uncut::Seed)?;
        let wanted: Vec<((u32, ChunkDigest), u64)> = self
            .lacking
            .iter()
            .flat_map(|(key, lacking)| lacking.on_disks.iter().map(|offset| (*key, *offset)))
            .collect();
        for (key, offset) in wanted {
            watch.go_on().map_err(Uncut::Taker)?;
            let mut bytes = vec![0; usize::try_from(key.0).unwrap_or(usize::MAX)];
            seed.read(offset, &mut bytes).map_err(Uncut::Seed)?;
            if digest(&bytes) == key.1
                && !self.put(key, &bytes, path.as_str()).map_err(Uncut::Taker)?
            {
                return Ok(());
            }
        }
        seed.cut(&mut |digest, bytes| {
            watch.go_on()?;
            self.put(
                (u32::try_from(bytes.len()).unwrap_or(u32::MAX), *digest),
                bytes,
                path.as_str(),
            )
        })
    }
}

/// Gives the chunk table of each version that `picked` wants. One that cannot be read is no help.
fn each_table(
    store: &Store,
    watch: &Watch<'_>,
    picked: impl Fn(&Packed) -> bool,
    mut take: impl FnMut(&ChunkTable) -> Result<()>,
) -> Result<()> {
    let index = store.index()?;
    let mut seen = BTreeSet::new();
    for entry in index.tagged() {
        watch.go_on()?;
        if !seen.insert(&entry.descriptor.digest) {
            continue;
        }
        match table(store, entry, &picked) {
            Ok(None) => {}
            Ok(Some(table)) => take(&table)?,
            Err(error) => tracing::warn!(%error, "a version's chunk table is of no help"),
        }
    }
    Ok(())
}

fn table(
    store: &Store,
    entry: Tagged<'_>,
    is_wanted: impl Fn(&Packed) -> bool,
) -> Result<Option<ChunkTable>> {
    let Some(version) = version_index(store, entry)? else { return Ok(None) };
    let packed = Packed::of_version(store, entry.label(), &version)?;
    if !is_wanted(&packed) {
        return Ok(None);
    }
    packed.table(store).map(Some)
}

//! A version's disk straight from a registry: each chunk from where it is cheapest.
//!
//! 1. What an earlier pull left in the file that is written.
//! 2. Versions in the local layout, by the chunks that their tables name.
//! 3. Seeds: any disks at hand, cut into chunks.
//! 4. The registry's packs, as few of their bytes as can be had in few requests.
//!
//! Whatever gives a chunk's bytes, they are proved by its digest before they are written, and the table
//! of digests is proved by the version's own. The file gets no name here: [`Pulled`] holds it, locked.

mod disk;
mod fetch;
mod local_chunks;
mod part;
mod queue;
mod seed;
mod sink;
mod version;
mod watch;

use std::sync::{Arc, mpsc};
use std::thread;

use imgbake_build::{BuildErrorKind, Whole};
use imgbake_disk::chunk::ChunkTable;
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::{Digest, Size, Stage};
use tokio::runtime::Handle;

pub(crate) use disk::Taking;
pub use part::Part;
pub use seed::Seed;
pub use version::RemoteVersion;
pub(crate) use version::{document, index_of, json};

use self::fetch::Fetch;
use self::sink::{Numbered, Sink};
use self::watch::Watch;
use crate::files::damaged;
use crate::restore::{Follower, Output, prove};
use crate::transfer::meter::Meter;
use crate::{Layout, Result};

/// Where chunks may come from beside the registry, and what shall be learnt of the disk.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The local registry.
    pub layout: Option<Layout>,
    /// Disks.
    pub seeds: Vec<Seed>,
    /// Whether the whole disk's digest is wanted even where the version does not state it.
    pub whole: Whole,
}

/// A disk that came: all of it, each chunk proved. The system writes it to the disk when it likes.
#[derive(Debug)]
pub struct Pulled {
    /// SHA-256 of the whole disk, where it was wanted or the version states it.
    pub sha256: Option<Digest>,
    /// Where the bytes came from.
    pub came: Came,
    /// The file; locked until this is dropped.
    pub part: Part,
}

/// Where a disk's bytes came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Came {
    /// Bytes that the registry gave, documents among them.
    pub moved: u64,
    /// Bytes of the disk from the local registry.
    pub local: u64,
    /// Bytes of the disk from seeds.
    pub seeds: u64,
    /// Bytes of the disk that an earlier pull had left.
    pub kept: u64,
}

impl Came {
    /// "12 MiB moved, 300 MiB from the local registry, 40 MiB from seeds"
    fn words(&self) -> String {
        let human = |bytes| Size::bytes(bytes).human();
        let others = [
            (self.local, "from the local registry"),
            (self.seeds, "from seeds"),
            (self.kept, "there already"),
        ];
        let others = others.into_iter().filter(|(bytes, _)| *bytes > 0);
        let others = others.map(|(bytes, from)| format!("{} {from}", human(bytes)));
        let reported = std::iter::once(format!("{} moved", human(self.moved)));
        reported.chain(others).collect::<Vec<_>>().join(", ")
    }
}

/// Writes a version's raw disk into a part. What came before an error stays in the part, and the next
/// pull into it goes on from there.
///
/// # Errors
/// The registry gives wrong bytes or none, a seed that must be read cannot be, the disk is full.
pub async fn pull(
    job: &Job,
    version: RemoteVersion,
    part: Part,
    sources: Sources,
) -> Result<Pulled> {
    let stage = Arc::new(job.events().stage(Stage::Copy, &version.packed.label));
    stage.status("reading the chunk table");
    let table = job.cancel().run(version.table()).await??;
    let work = Work {
        job: job.clone(),
        handle: Handle::current(),
        stage: Arc::clone(&stage),
        version,
        table,
        part,
        sources,
    };
    let done = tokio::task::spawn_blocking(move || work.run()).await;
    let done =
        done.unwrap_or_else(|error| Err(damaged("a pull ended before it was done").because(error)));
    let pulled = match done {
        Ok(pulled) => pulled,
        Err(error) => {
            job.cancel().check()?;
            return Err(error);
        }
    };
    if let Some(stage) = Arc::into_inner(stage) {
        stage.finish(pulled.came.moved, pulled.came.words());
    }
    Ok(pulled)
}

/// All that a pull's threads need.
struct Work {
    job: Job,
    handle: Handle,
    stage: Arc<StageGuard>,
    version: RemoteVersion,
    table: ChunkTable,
    part: Part,
    sources: Sources,
}

impl Work {
    fn run(self) -> Result<Pulled> {
        let packed = &self.version.packed;
        let watch = Watch::new(self.job.cancel());
        let there = self.part.prepare(&self.table)?;
        let output =
            Output::over(self.part.file(), &packed.label, &packed.disk, there, watch.stop())?;
        let whole = self.sources.whole;
        let (sender, receiver) = mpsc::channel();
        let numbered = Numbered(&self.table);
        let (filled, followed) = thread::scope(|scope| {
            let ended = watch.clone();
            // A pull that is interrupted does not hash to the end.
            let progress = move |_| {
                if ended.go_on().is_err() {
                    ended.end();
                }
            };
            let follower = Follower::new(&output, &numbered, whole, Box::new(progress));
            let watch = &watch;
            let follower =
                scope.spawn(move || follower.run(&receiver).inspect_err(|_| watch.end()));
            let sink = Sink::new(&self.table, &output, sender);
            let filled = self.fill(&sink, watch).inspect_err(|_| watch.end());
            drop(sink);
            let crashed = |_| Err(damaged("following a pull ended before it was done"));
            (filled, follower.join().unwrap_or_else(crashed))
        });
        // What another thread's failure interrupted is not what failed.
        let (came, sha256) = match (filled, followed) {
            (Ok(came), Ok(sha256)) => (came, sha256),
            (Err(error), Err(other)) if error.kind() == BuildErrorKind::Cancelled => {
                return Err(other);
            }
            (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
        };
        // Each chunk is the one that the version names: what is wrong is only what it says of them all.
        if let Err(error) = prove(&packed.label, &packed.disk, sha256.as_ref()) {
            self.job.events().warn(error.to_string());
        }
        Ok(Pulled { sha256, came, part: self.part })
    }

    /// Fills the disk from the cheapest source to the dearest.
    fn fill(&self, sink: &Sink<'_>, watch: &Watch) -> Result<Came> {
        let mut came = Came::default();
        if !self.part.is_new() {
            self.stage.status("looking at what an earlier pull left");
            came.kept = local_chunks::kept(sink, watch)?;
        }
        if let Some(layout) = &self.sources.layout {
            self.stage.status("taking what the local registry has");
            came.local =
                local_chunks::local(layout.store(), self.version.image_name(), sink, watch)?;
        }
        for seed in &self.sources.seeds {
            if sink.wanted().is_empty() {
                break;
            }
            self.stage.status(format!("looking for chunks in {}", seed.path));
            came.seeds += seed::take(seed, sink, watch)?;
        }
        let ranges = queue::ranges(sink.table(), &sink.wanted());
        let meter = Meter::new(&self.stage, ranges.iter().map(|range| range.len).sum());
        let fetch = Fetch::new(&self.version.repository, sink, &meter, &self.handle, watch);
        fetch.all(ranges)?;
        came.moved = meter.moved() + self.version.document_bytes;
        Ok(came)
    }
}

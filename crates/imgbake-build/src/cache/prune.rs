//! Keeping the cache small: what is useless goes, then what was not used for longest.

use std::collections::BTreeMap;

use camino::Utf8Path;
use imgbake_runtime::Home;
use imgbake_runtime::job::remove_path;
use imgbake_types::{Digest, Size};
use serde::Serialize;

use super::LayerCache;
use super::error::{CacheError, CacheErrorKind, io_at};
use super::lock::Lock;
use super::record;
use super::remove::remove_file;
use super::survey::{Content, Entry};

/// What [`LayerCache::prune`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Layers.
    pub layers: usize,
    /// States of machines whose layers stay.
    pub states: usize,
    /// Folders of layers that were never finished.
    pub halves: usize,
    /// Bytes that became free.
    pub bytes: u64,
}

/// What [`LayerCache::sweep`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Swept {
    /// Folders of layers that were never finished.
    pub halves: usize,
    /// Bytes that became free.
    pub bytes: u64,
    /// Lock files that nobody needs.
    pub locks: usize,
}

impl LayerCache {
    /// Frees room until what is kept fits: what can never be used first, then states of layers, then
    /// layers that are no other's parent, each time the one that was not used for longest. Never one that
    /// somebody uses.
    pub fn prune(&self, budget: Size) -> Result<Pruned, CacheError> {
        let mut pruned = Pruned::default();
        // Taking layers away takes locks, and a full file system may have no room for their files.
        self.sweep_locks(true)?;
        self.remove_useless(&mut pruned)?;
        let mut entries = self.survey()?;
        entries.sort_by_key(|entry| entry.used);
        let mut taken = Taken::of(&entries);
        for entry in entries.iter().filter(|entry| entry.bytes.state > 0) {
            if taken.fits(budget) {
                return Ok(pruned);
            }
            if let Some(bytes) = self.drop_state(&entry.key)? {
                pruned.states += 1;
                pruned.bytes += taken.free(bytes);
            }
        }
        self.remove_leaves(entries, budget, &mut taken, &mut pruned)?;
        Ok(pruned)
    }

    /// Takes layers that are no other's parent, the one that was not used for longest first.
    fn remove_leaves(
        &self,
        mut left: Vec<Entry>,
        budget: Size,
        taken: &mut Taken,
        pruned: &mut Pruned,
    ) -> Result<(), CacheError> {
        let mut children: BTreeMap<Digest, usize> = BTreeMap::new();
        for parent in left.iter().filter_map(Entry::parent) {
            *children.entry(parent.clone()).or_default() += 1;
        }
        while !taken.fits(budget) {
            let leaf = |entry: &Entry| {
                entry.record().is_some() && children.get(&entry.key).is_none_or(|count| *count == 0)
            };
            let Some(at) = left.iter().position(leaf) else { break };
            let entry = left.remove(at);
            // Once nobody can use it, nobody can put a layer on it either.
            let alone = |_: &Utf8Path| matches!(self.has_children(&entry.key), Ok(false));
            let Some(bytes) = self.remove_if(&entry.key, alone)? else { continue };
            pruned.layers += 1;
            pruned.bytes += taken.free(bytes);
            if let Some(count) = entry.parent().and_then(|parent| children.get_mut(parent)) {
                *count -= 1;
            }
        }
        Ok(())
    }

    /// Removes half layers that nobody makes, layers whose record is broken, and those whose layer
    /// below is gone or another one.
    fn remove_useless(&self, pruned: &mut Pruned) -> Result<(), CacheError> {
        loop {
            let mut removed = 0;
            for entry in self.survey()? {
                let dead = match &entry.content {
                    Content::Half => {
                        let bytes = self.remove_half(&entry.key)?;
                        pruned.halves += usize::from(bytes.is_some());
                        pruned.bytes += bytes.unwrap_or_default();
                        continue;
                    }
                    Content::Broken(bytes) => self.remove_dead(&entry.key, bytes)?,
                    Content::Layer(_) if self.is_orphan(&entry.dir) => {
                        self.remove_if(&entry.key, |dir| self.is_orphan(dir))?
                    }
                    Content::Layer(_) | Content::Newer => None,
                };
                removed += usize::from(dead.is_some());
                pruned.bytes += dead.unwrap_or_default();
            }
            pruned.layers += removed;
            // What was based on these is based on nothing now.
            if removed == 0 {
                return Ok(());
            }
        }
    }

    /// Whether the layer that a folder's layer is based on is gone, or another one.
    fn is_orphan(&self, dir: &Utf8Path) -> bool {
        let bytes = record::read(dir).ok().flatten();
        let Some(below) = bytes.as_deref().and_then(record::parent_of) else { return false };
        match record::read(&self.folder(&below.key)) {
            Ok(None) => true,
            Ok(Some(bytes)) => match record::parse(&bytes) {
                Ok(parent) => parent.disk.file.digest != below.disk,
                Err(problem) => !problem.is_newer(),
            },
            Err(_) => false,
        }
    }

    fn remove_half(&self, key: &Digest) -> Result<Option<u64>, CacheError> {
        self.remove_if(key, |dir| matches!(record::read(dir), Ok(None)))
    }

    /// After a commit: frees room if there is too little. The layer stands, whatever comes of this.
    pub(super) fn keep_to_budget(&self) {
        let over = |entries: Vec<Entry>| !Taken::of(&entries).fits(self.budget);
        if self.survey().is_ok_and(over) {
            let _ = self.prune(self.budget);
        }
    }

    /// Removes the half layers of killed builds, and lock files that nobody needs. It looks at names
    /// alone, and so costs next to nothing.
    pub fn sweep(&self) -> Result<Swept, CacheError> {
        let mut swept = Swept::default();
        for key in self.keys()? {
            if self.folder(&key).join(record::FILE).symlink_metadata().is_err()
                && let Some(bytes) = self.remove_half(&key)?
            {
                swept.halves += 1;
                swept.bytes += bytes;
            }
        }
        swept.locks = self.sweep_locks(false)?;
        Ok(swept)
    }

    /// Removes lock files that nobody holds and nobody needs soon; or `all` that nobody holds.
    fn sweep_locks(&self, all: bool) -> Result<usize, CacheError> {
        let mut removed = 0;
        for entry in self.locks.read_dir_utf8().map_err(io_at("read the folder", &self.locks))? {
            let entry = entry.map_err(io_at("read the folder", &self.locks))?;
            let Some((hex, kind)) = entry.file_name().split_once('.') else { continue };
            // Who uses a layer needs its lock; who made it does not any more.
            let needed = kind == "use" && self.layers.join(hex).symlink_metadata().is_ok();
            if matches!(kind, "make" | "use") && (all || !needed) {
                removed += usize::from(Lock::try_exclusive(entry.path())?.is_some());
            }
        }
        Ok(removed)
    }

    /// Empties a home's cache, whatever its format.
    ///
    /// # Errors
    /// Somebody uses a layer ([`CacheErrorKind::InUse`]): what nobody uses is gone then, as far as the
    /// format is known.
    pub fn clear(home: &Home) -> Result<Pruned, CacheError> {
        let cache = Self::at(home, Size::bytes(0));
        if cache.layers.symlink_metadata().is_err() {
            return Ok(Pruned::default());
        }
        match Self::open(home, cache.budget) {
            Ok(cache) => cache.clear_known(),
            Err(error) if error.kind() == CacheErrorKind::Format => cache.clear_unknown(),
            Err(error) => Err(error),
        }
    }

    fn clear_known(&self) -> Result<Pruned, CacheError> {
        let pruned = self.prune(self.budget)?;
        self.sweep()?;
        match self.keys()?.len() {
            0 => Ok(pruned),
            left => Err(in_use(&format!("{left} layers are in use or being made"))),
        }
    }

    /// What another version wrote: it locks the files of `cache/locks` as this one does.
    fn clear_unknown(&self) -> Result<Pruned, CacheError> {
        let mut locks = Vec::new();
        for entry in self.locks.read_dir_utf8().map_err(io_at("read the folder", &self.locks))? {
            let entry = entry.map_err(io_at("read the folder", &self.locks))?;
            if Lock::is_held(entry.path()) {
                return Err(in_use(&format!("{} is locked", entry.path())));
            }
            locks.push(entry.into_path());
        }
        let mut pruned = Pruned::default();
        for entry in self.layers.read_dir_utf8().map_err(io_at("read the folder", &self.layers))? {
            let entry = entry.map_err(io_at("read the folder", &self.layers))?;
            // The mark last: killed between, the rest is still known to be another version's.
            if entry.file_name() != "format" {
                let bytes = super::survey::folder_bytes(entry.path());
                remove_path(entry.path())?;
                pruned.layers += 1;
                pruned.bytes += bytes.disk + bytes.state;
            }
        }
        remove_file(&self.layers.join("format"))?;
        for path in locks {
            drop(Lock::try_exclusive(&path)?);
        }
        Ok(pruned)
    }
}

/// Bytes that the cache takes.
struct Taken(u64);

impl Taken {
    fn of(entries: &[Entry]) -> Self {
        Self(entries.iter().map(|entry| entry.bytes.disk + entry.bytes.state).sum())
    }

    /// Nothing fits a budget of nothing, not even what takes no blocks.
    fn fits(&self, budget: Size) -> bool {
        self.0 <= budget.as_bytes() && budget.as_bytes() > 0
    }

    /// Notes what became free, and gives it back.
    fn free(&mut self, bytes: u64) -> u64 {
        self.0 = self.0.saturating_sub(bytes);
        bytes
    }
}

fn in_use(what: &str) -> CacheError {
    CacheError::new(CacheErrorKind::InUse, format!("the layer cache is in use: {what}"))
        .help("wait for the other imgbake commands, then try again")
}

//! Taking layers away: never one that is in use.

use std::fs;
use std::io;

use camino::Utf8Path;
use imgbake_runtime::job::remove_path;
use imgbake_types::Digest;

use super::LayerCache;
use super::claim::Claim;
use super::error::{CacheError, CacheErrorKind, io_at};
use super::lock::Lock;
use super::record;

impl LayerCache {
    /// Takes a layer away, whatever layers are based on it; gives `false` where somebody uses it or makes it.
    /// For a step whose layer was of no use and is to be made anew: what was based on the old one is then
    /// dead.
    pub fn remove(&self, key: &Digest) -> Result<bool, CacheError> {
        Ok(self.remove_if(key, |_| true)?.is_some())
    }

    /// Takes a layer away that was judged dead, if it still is the one that was judged.
    pub(super) fn remove_dead(
        &self,
        key: &Digest,
        judged: &[u8],
    ) -> Result<Option<u64>, CacheError> {
        self.remove_if(key, |dir| matches!(record::read(dir), Ok(Some(now)) if now == judged))
    }

    /// Takes a layer away if nobody uses or makes it and, once that is sure, `still` holds for its
    /// folder. Gives the bytes that became free.
    pub(super) fn remove_if(
        &self,
        key: &Digest,
        still: impl FnOnce(&Utf8Path) -> bool,
    ) -> Result<Option<u64>, CacheError> {
        match self.try_claim(key)? {
            Some(claim) => self.remove_claimed(&claim, still),
            None => Ok(None),
        }
    }

    /// The same for who holds the claim already.
    pub(super) fn remove_claimed(
        &self,
        claim: &Claim,
        still: impl FnOnce(&Utf8Path) -> bool,
    ) -> Result<Option<u64>, CacheError> {
        let dir = self.folder(claim.key());
        if dir.symlink_metadata().is_err() {
            return Ok(Some(0));
        }
        // Nobody uses what has no record, and it gets none without the claim.
        let mut alone = None;
        if dir.join(record::FILE).symlink_metadata().is_ok() {
            alone = Lock::try_exclusive(&self.lock_path(claim.key(), "use"))?;
            if alone.is_none() {
                return Ok(None);
            }
        }
        if !still(&dir) {
            return Ok(None);
        }
        let bytes = super::survey::folder_bytes(&dir);
        // First what makes it a layer: killed between, it is none.
        remove_file(&dir.join(record::FILE))?;
        remove_path(&dir)?;
        drop(alone);
        Ok(Some(bytes.disk + bytes.state))
    }

    /// Whether any layer is based on this one.
    pub(super) fn has_children(&self, key: &Digest) -> Result<bool, CacheError> {
        for child in self.keys()? {
            let bytes = record::read(&self.folder(&child)).ok().flatten();
            let parent = bytes.as_deref().and_then(record::parent_of);
            if parent.is_some_and(|parent| &parent.key == key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a layer's state away if nobody uses the layer; gives the bytes that became free.
    pub(super) fn drop_state(&self, key: &Digest) -> Result<Option<u64>, CacheError> {
        let Some(_claim) = self.try_claim(key)? else { return Ok(None) };
        let Some(_alone) = Lock::try_exclusive(&self.lock_path(key, "use"))? else {
            return Ok(None);
        };
        let dir = self.folder(key);
        let Some(mut record) =
            record::read(&dir).ok().flatten().and_then(|bytes| record::parse(&bytes).ok())
        else {
            return Ok(None);
        };
        let bytes = super::survey::folder_bytes(&dir).state;
        let state = dir.join("state");
        if record.state.take().is_some() {
            match record::write(&dir, &record) {
                // The state makes the room. Killed between, the layer is damaged and goes whole.
                Err(error) if error.kind() == CacheErrorKind::Full => {
                    remove_file(&state)?;
                    record::write(&dir, &record)?;
                }
                written => written?,
            }
        }
        remove_file(&state)?;
        Ok(Some(bytes))
    }
}

pub(super) fn remove_file(path: &Utf8Path) -> Result<(), CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at("remove", path)(error)),
        _ => Ok(()),
    }
}

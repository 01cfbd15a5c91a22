//! The right to make a layer.

use imgbake_runtime::Cancel;
use imgbake_runtime::retry::Backoff;
use imgbake_types::Digest;

use super::LayerCache;
use super::error::CacheError;
use super::lock::Lock;
use crate::BuildError;

/// The right to make one key's layer, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    key: Digest,
    /// The lock lives as long as the claim.
    _lock: Lock,
}

impl Claim {
    /// Whose layer may be made.
    pub fn key(&self) -> &Digest {
        &self.key
    }
}

impl LayerCache {
    /// The right to make a key's layer: `None` while another build, of this process or another, has
    /// it; for a moment also while a sweep tries its lock. Look for the layer again once it is granted:
    /// that build may have made it.
    pub fn try_claim(&self, key: &Digest) -> Result<Option<Claim>, CacheError> {
        let lock = Lock::try_exclusive(&self.lock_path(key, "make"))?;
        Ok(lock.map(|lock| Claim { key: key.clone(), _lock: lock }))
    }

    /// Waits for the right to make a key's layer.
    ///
    /// # Errors
    /// The job was cancelled, or the lock's file cannot be made.
    pub async fn claim(&self, cancel: &Cancel, key: &Digest) -> Result<Claim, BuildError> {
        let mut backoff = Backoff::default();
        loop {
            if let Some(claim) = self.try_claim(key)? {
                return Ok(claim);
            }
            cancel.run(backoff.wait()).await?;
        }
    }
}

//! Layers in a repository of a registry.

mod find;
mod pull;
mod push;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use camino::Utf8Path;
use imgbake_build::{LayerShare, SharedLayer};
use imgbake_oci::{Remote, RemoteOptions, Repository};
use imgbake_runtime::Job;
use imgbake_types::Digest;

use super::Damaged;
use crate::Result;

/// Layers in a repository of any OCI registry, each under a tag. Clones are the same; any number of
/// processes may use one repository.
#[derive(Debug, Clone)]
pub struct RemoteShare {
    host: String,
    name: String,
    options: RemoteOptions,
    /// The way there of the job that last asked; none after a failure, so that a registry which went
    /// is reported soon.
    open: Arc<Mutex<Option<(String, Repository)>>>,
    damaged: Damaged,
}

impl RemoteShare {
    /// A repository. Nobody is asked yet: a registry that is down ends no build.
    ///
    /// # Errors
    /// Host or name cannot be one; the file of certificates cannot be read.
    pub fn new(host: &str, name: &str, options: RemoteOptions) -> Result<Self> {
        Remote::check(host, name, &options)?;
        Ok(Self {
            host: host.to_owned(),
            name: name.to_owned(),
            options,
            open: Arc::default(),
            damaged: Damaged::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Option<(String, Repository)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn repository(&self, job: &Job) -> Result<Repository> {
        let known = self.open().clone().filter(|(id, _)| id == job.id());
        if let Some((_, repository)) = known {
            return Ok(repository);
        }
        let remote = Remote::connect(job, &self.host, &self.options).await?;
        let repository = remote.repository(&self.name)?;
        *self.open() = Some((job.id().to_owned(), repository.clone()));
        Ok(repository)
    }

    /// Begins anew after a failure.
    fn ended<T>(&self, done: Result<T>) -> Result<T> {
        if done.is_err() {
            *self.open() = None;
        }
        done
    }
}

#[async_trait]
impl LayerShare for RemoteShare {
    async fn has(&self, job: &Job, keys: &[Digest]) -> Result<Vec<Digest>> {
        let keys = self.damaged.others(keys);
        if keys.is_empty() {
            return Ok(keys);
        }
        let repository = self.repository(job).await?;
        self.ended(find::has(job, &repository, keys).await)
    }

    async fn push(&self, job: &Job, layer: SharedLayer) -> Result<u64> {
        let repository = self.repository(job).await?;
        let key = layer.key.clone();
        let sent = self.ended(push::push(job, &repository, layer).await)?;
        self.damaged.mended(&key);
        Ok(sent)
    }

    async fn pull(&self, job: &Job, key: &Digest, into: &Utf8Path) -> Result<Vec<u8>> {
        let repository = self.repository(job).await?;
        let done = self.ended(pull::pull(job, &repository, key, into).await);
        self.damaged.learn(key, &done);
        done
    }
}

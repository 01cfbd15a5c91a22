//! A layer comes out of a repository.

use std::fs::File;
use std::sync::Arc;

use camino::Utf8Path;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_oci::Repository;
use imgbake_runtime::{Job, StageGuard};
use imgbake_types::{Digest, Outcome, Stage};

use super::find::{manifest, owner, read};
use crate::Result;
use crate::files::damaged;
use crate::oci::Manifest;
use crate::pull::{Taking, json};
use crate::restore::Packed;
use crate::share::document::LayerConfig;
use crate::share::unpack::unpack;
use crate::share::{label, unusable};

/// Writes a layer's files into an empty folder; gives its record.
pub(super) async fn pull(
    job: &Job,
    repository: &Repository,
    key: &Digest,
    into: &Utf8Path,
) -> Result<Vec<u8>> {
    let found = manifest(repository, key).await?;
    let found = found.map(|raw| read(repository, key, &raw)).transpose().map_err(unusable)?;
    let manifest = found.flatten().ok_or_else(|| {
        let what = format!("{} has no layer of the key {key}", repository.label());
        BuildError::new(BuildErrorKind::NotFound, what)
    })?;
    let owner = owner(repository, key);
    let name = format!("{}:{}", repository.label(), label(key));
    let stage = Arc::new(job.events().stage(Stage::Copy, &name));
    let done = take(job, repository, (manifest, owner.clone()), into, &stage).await;
    let (outcome, moved) = match &done {
        Ok((_, moved)) => (Outcome::Done, *moved),
        Err(_) => (Outcome::Warning, 0),
    };
    if let Some(stage) = Arc::into_inner(stage) {
        stage.end(outcome, moved, String::new());
    }
    let error = match done {
        Ok((record, _)) => return Ok(record),
        Err(error) => error,
    };
    job.cancel().check()?;
    Err(unusable(match error.kind() {
        // The layer is there, and not all of it.
        BuildErrorKind::NotFound => damaged(format!("{owner} is not whole: {error}")),
        _ => error,
    }))
}

/// Gives the record, and how many bytes of packs came.
async fn take(
    job: &Job,
    repository: &Repository,
    (manifest, owner): (Manifest, String),
    into: &Utf8Path,
    stage: &Arc<StageGuard>,
) -> Result<(Vec<u8>, u64)> {
    let config: LayerConfig = json(repository, &manifest.config, &owner).await?;
    let sizes = manifest.layers.iter().map(|layer| layer.size);
    let total = sizes.fold(0, u64::saturating_add);
    let (taking, _end) = Taking::begin(job, repository, stage, total);
    let into = into.to_owned();
    let work = move || {
        let take = |packed: Packed, out: &File| taking.disk(&packed, out);
        let record = unpack((&config, &manifest, &owner), &into, take)?;
        Ok((record, taking.moved()))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(damaged("a pull ended before it was done").because(error)))
}

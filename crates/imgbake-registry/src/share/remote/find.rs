//! Which layers a repository has.

use futures::StreamExt;
use imgbake_build::BuildErrorKind;
use imgbake_oci::{RawManifest, Repository};
use imgbake_runtime::Job;
use imgbake_types::{Digest, Target};

use crate::Result;
use crate::files::parse;
use crate::oci::{MANIFEST, Manifest};
use crate::share::document::of_key;
use crate::share::label;

/// Requests at once.
pub(super) const PARALLEL: usize = 6;

/// Which of these keys have a layer, in the order given.
pub(super) async fn has(
    job: &Job,
    repository: &Repository,
    keys: Vec<Digest>,
) -> Result<Vec<Digest>> {
    let asked = futures::stream::iter(keys).map(|key| async {
        let found = manifest(repository, &key).await;
        (key, found)
    });
    let mut asked = asked.buffered(PARALLEL);
    let mut there = Vec::new();
    while let Some((key, found)) = asked.next().await {
        let damage = match found.map(|found| found.map(|raw| read(repository, &key, &raw))) {
            Ok(None | Some(Ok(None))) => continue,
            Ok(Some(Ok(Some(_)))) => {
                there.push(key);
                continue;
            }
            // A layer that cannot be read is none: its step runs.
            Ok(Some(Err(damage))) => damage,
            Err(error) if there.is_empty() || error.kind() == BuildErrorKind::Cancelled => {
                return Err(error);
            }
            // What is based on one that does not come is of no use.
            Err(error) => {
                job.events().warn(format!("the shared cache ends early: {error}"));
                break;
            }
        };
        job.events().warn(format!("a shared layer is damaged: {damage}"));
    }
    Ok(there)
}

/// What is under a key's tag.
pub(super) async fn manifest(repository: &Repository, key: &Digest) -> Result<Option<RawManifest>> {
    Ok(repository.manifest(&Target::Tag(label(key))).await?)
}

/// A layer's manifest; `None` where it is not this key's.
pub(super) fn read(
    repository: &Repository,
    key: &Digest,
    raw: &RawManifest,
) -> Result<Option<Manifest>> {
    if raw.media_type != MANIFEST {
        return Ok(None);
    }
    let manifest: Manifest =
        parse(&raw.bytes, &format!("the manifest {} of {}", raw.digest, owner(repository, key)))?;
    Ok(of_key(manifest, key))
}

/// A layer, for errors.
pub(super) fn owner(repository: &Repository, key: &Digest) -> String {
    format!("the shared layer {}:{}", repository.label(), label(key))
}

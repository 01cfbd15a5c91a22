//! The versions of an image in a registry.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use imgbake_build::{BuildError, BuildErrorKind, Versions};
use imgbake_oci::{RawManifest, Repository};
use imgbake_types::record::{ListedVersion, UnreadableVersion, VersionView};
use imgbake_types::{Digest, Target};

use crate::Result;
use crate::files::damaged;
use crate::image::RemoteImage;
use crate::oci::VERSION;
use crate::problem::problem_of;
use crate::pull::{RemoteVersion, index_of};
use crate::tags::is_hidden;

/// Versions that are read at once.
const PARALLEL: usize = 6;

#[async_trait]
impl Versions for RemoteImage {
    async fn versions(&self) -> Result<Vec<ListedVersion>> {
        list(&self.repository).await
    }

    async fn version(&self, target: Option<&Target>) -> Result<VersionView> {
        let target = target.ok_or_else(|| {
            let label = self.repository.label();
            let what = format!("which version of {label}? A registry knows no newest one");
            BuildError::new(BuildErrorKind::Usage, what).help(format!("give {label}:TAG"))
        })?;
        let version = RemoteVersion::find(&self.repository, target).await?;
        // Of its channels only the one that it was asked by is known.
        let channel = match target {
            Target::Tag(tag) if version.is_channel(tag) => Some(tag.clone()),
            _ => None,
        };
        version.view(channel.into_iter().collect()).await
    }
}

/// The versions of a repository in the order of their names.
async fn list(repository: &Repository) -> Result<Vec<ListedVersion>> {
    let tags = repository.tags().await?.into_iter().filter(|tag| !is_hidden(tag));
    let found: Vec<(String, Result<Option<RawManifest>>)> = futures::stream::iter(tags)
        .map(async |tag| {
            let manifest = repository.manifest(&Target::Tag(tag.clone())).await;
            (tag, manifest.map_err(BuildError::from))
        })
        .buffered(PARALLEL)
        .collect()
        .await;
    let mut named: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    let mut own = Vec::new();
    for (tag, manifest) in found {
        let Some(manifest) = manifest? else { continue }; // taken away meanwhile
        let label = format!("{}:{tag}", repository.label());
        match index_of(&manifest, &label) {
            Ok(None) => {}
            Ok(Some(version)) if version.annotations.get(VERSION) != Some(&tag) => {
                named.entry(manifest.digest.clone()).or_default().push(tag);
            }
            // A channel, most likely: its digest has a name already.
            Err(_) if own.iter().any(|(_, _, other, _)| is_same(other, &manifest)) => {
                named.entry(manifest.digest.clone()).or_default().push(tag);
            }
            version => own.push((tag, label, manifest, version)),
        }
    }
    let listed = futures::stream::iter(own).map(async |(tag, label, manifest, version)| {
        let channels = named.get(&manifest.digest).cloned().unwrap_or_default();
        let read = async {
            let Some(version) = version? else { return Ok(None) };
            let found = RemoteVersion::read(repository, label, &manifest, &version).await?;
            found.view(channels.clone()).await.map(Some)
        };
        let error = match read.await {
            Ok(version) => return Ok(version.map(|it| ListedVersion::Readable(Box::new(it)))),
            Err(error) if error.kind() == BuildErrorKind::Cancelled => return Err(error),
            Err(error) => error,
        };
        Ok(Some(ListedVersion::Unreadable(UnreadableVersion {
            name: repository.label(),
            version: tag.parse().map_err(|error| damaged("a tag is none").because(error))?,
            digest: manifest.digest.clone(),
            channels,
            problem: problem_of(&error),
        })))
    });
    let listed: Vec<Option<ListedVersion>> = listed.buffered(PARALLEL).try_collect().await?;
    Ok(listed.into_iter().flatten().collect())
}

fn is_same(one: &RawManifest, other: &RawManifest) -> bool {
    one.digest == other.digest
}

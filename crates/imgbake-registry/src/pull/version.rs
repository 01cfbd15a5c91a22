//! A version in a registry: found, and read as foreign.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_disk::chunk::ChunkTable;
use imgbake_types::record::{ImageConfig, VerifyRecord, VersionView};
use imgbake_types::{Digest, Target};
use tokio::sync::OnceCell;

use crate::files::{MAX_JSON, damaged, parse};
use crate::index::Index;
use crate::oci::{CREATED, Config, Descriptor, IMAGE, INDEX, MANIFEST, Manifest, VERIFY, VERSION};
use crate::restore::Packed;
use crate::tags::is_hidden;
use crate::versions::{check_chunked, chunked_entry};
use crate::{RawManifest, Repository, Result};

/// Versions that are read at once.
const PARALLEL: usize = 6;

/// A version in a registry.
#[derive(Debug)]
pub struct RemoteVersion {
    pub(super) repository: Repository,
    digest: Digest,
    /// Its name by its index.
    tag: Option<String>,
    image: ImageConfig,
    pub(super) packed: Packed,
    /// Bytes of manifests, config and chunk table.
    pub(super) document_bytes: u64,
}

impl RemoteVersion {
    /// Finds the version that a target means.
    ///
    /// # Errors
    /// There is none, the registry cannot be reached or refuses, or what is there is no version that
    /// this imgbake reads.
    pub async fn find(repository: &Repository, target: &Target) -> Result<Self> {
        let label = match target {
            Target::Tag(tag) => format!("{}:{tag}", repository.label()),
            Target::Digest(digest) => format!("{}@{digest}", repository.label()),
        };
        let found = repository.manifest(target).await?.ok_or_else(|| {
            let what = format!("there is no {label}");
            BuildError::new(BuildErrorKind::NotFound, what)
        })?;
        let version = index_of(&found, &label)?.ok_or_else(|| {
            damaged(format!("{label} is no image that imgbake made"))
                .help("imgbake pulls what `imgbake push` or `imgbake copy` put there")
        })?;
        Self::read(repository, label, &found, &version).await
    }

    async fn read(
        repository: &Repository,
        label: String,
        found: &RawManifest,
        version: &Index,
    ) -> Result<Self> {
        let entry = chunked_entry(version, &label)?;
        let target = Target::Digest(entry.digest.clone());
        let raw = repository.manifest(&target).await?.ok_or_else(|| {
            damaged(format!("{label} lacks the manifest {}, which its index names", entry.digest))
        })?;
        let manifest: Manifest =
            parse(&raw.bytes, &format!("the manifest {} of {label}", raw.digest))?;
        let manifest = check_chunked(manifest, &label)?;
        let config: Config = json(repository, &manifest.config, &label).await?;
        let documents = found.bytes.len() + raw.bytes.len();
        let document_bytes = documents as u64 + manifest.config.size;
        let disk = config.image.disk.clone();
        let packed = Packed { label, disk, layers: manifest.layers };
        let table_bytes = packed.table_blob()?.size;
        Ok(Self {
            repository: repository.clone(),
            digest: found.digest.clone(),
            tag: version.annotations.get(VERSION).cloned(),
            image: config.image,
            packed,
            document_bytes: document_bytes + table_bytes,
        })
    }

    /// The version's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The disk's identity: its chunk table's digest.
    pub fn disk(&self) -> &Digest {
        &self.packed.disk.table
    }

    /// The image's name as its maker called it.
    pub(super) fn image_name(&self) -> &str {
        &self.image.name
    }

    /// Reads the chunk table.
    pub(super) async fn table(&self) -> Result<ChunkTable> {
        table(&self.repository, &self.packed).await
    }

    /// The version as people see it. Its channels are those that are known: `channels`.
    ///
    /// # Errors
    /// What is said of the version cannot be read.
    pub async fn view(&self, channels: Vec<String>) -> Result<VersionView> {
        let mut image = self.image.clone();
        image.name = self.repository.label();
        let record = verified(&self.repository, &self.digest).await?;
        Ok(VersionView::new(image, self.digest.clone(), channels, record))
    }

    /// Whether a tag is another name than the version's own.
    pub fn is_channel(&self, tag: &str) -> bool {
        self.tag.as_deref() != Some(tag)
    }
}

/// The versions of a repository in the order of their names, each with its channels.
///
/// # Errors
/// Those of [`RemoteVersion::find`].
pub async fn versions(repository: &Repository) -> Result<Vec<VersionView>> {
    let tags = repository.tags().await?.into_iter().filter(|tag| !is_hidden(tag));
    let found: Vec<(String, Option<RawManifest>)> = futures::stream::iter(tags)
        .map(async |tag| {
            let manifest = repository.manifest(&Target::Tag(tag.clone())).await?;
            Ok::<_, BuildError>((tag, manifest))
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let mut named: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    let mut own = Vec::new();
    for (tag, manifest) in found {
        let Some(manifest) = manifest else { continue }; // taken away meanwhile
        let label = format!("{}:{tag}", repository.label());
        let Some(version) = index_of(&manifest, &label)? else { continue };
        if version.annotations.get(VERSION) == Some(&tag) {
            own.push((label, manifest, version));
        } else {
            named.entry(manifest.digest.clone()).or_default().push(tag);
        }
    }
    futures::stream::iter(own)
        .map(async |(label, manifest, version)| {
            let channels = named.get(&manifest.digest).cloned().unwrap_or_default();
            RemoteVersion::read(repository, label, &manifest, &version).await?.view(channels).await
        })
        .buffered(PARALLEL)
        .try_collect()
        .await
}

/// A version's index; `None` where the manifest is of something else.
fn index_of(manifest: &RawManifest, label: &str) -> Result<Option<Index>> {
    if manifest.media_type != INDEX {
        return Ok(None);
    }
    let index: Index =
        parse(&manifest.bytes, &format!("the index {} of {label}", manifest.digest))?;
    Ok((index.artifact_type.as_deref() == Some(IMAGE)).then_some(index))
}

/// Reads a disk's chunk table. It comes in two pieces, where the registry gives pieces at all: so that
/// is known before packs are asked for.
pub(super) async fn table(repository: &Repository, packed: &Packed) -> Result<ChunkTable> {
    let Descriptor { digest, size, .. } = packed.table_blob()?;
    let size = *size;
    let mut bytes = repository.piece(digest, size, 0..size / 2).await?;
    if repository.ignores_ranges() {
        bytes = repository.piece(digest, size, 0..size).await?;
    } else {
        bytes.extend(repository.piece(digest, size, size / 2..size).await?);
    }
    let found = Digest::sha256(&bytes);
    if found != *digest {
        let name = repository.label();
        let what =
            format!("{name} gives wrong bytes for the blob {digest}: their digest is {found}");
        return Err(
            damaged(what).help("the registry, or something before it, is damaged or hostile")
        );
    }
    packed.check(&bytes)
}

/// A small blob as JSON.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(
    repository: &Repository,
    blob: &Descriptor,
    label: &str,
) -> Result<T> {
    if blob.size > MAX_JSON {
        let (media_type, most) = (blob.media_type.escape_debug(), MAX_JSON >> 20);
        let what =
            format!("the {media_type} of {label} has {} bytes: {most} MiB are read", blob.size);
        return Err(damaged(what));
    }
    let bytes = repository.piece(&blob.digest, blob.size, 0..blob.size).await?;
    parse(&bytes, &format!("the blob {} of {label}", blob.digest))
}

/// The newest verify record of a version.
async fn verified(repository: &Repository, version: &Digest) -> Result<Option<VerifyRecord>> {
    let mut entries = repository.referrers(version, &OnceCell::new()).await?;
    entries.retain(|entry| {
        entry.media_type == MANIFEST
            && entry.artifact_type.as_deref().is_none_or(|kind| kind == VERIFY)
    });
    entries.sort_by_key(|entry| {
        let created = entry.annotations.get(CREATED);
        created.and_then(|created| created.parse::<jiff::Timestamp>().ok())
    });
    let owner = format!("the verify record of {}@{version}", repository.label());
    for entry in entries.iter().rev() {
        let target = Target::Digest(entry.digest.clone());
        let Some(raw) = repository.manifest(&target).await? else { continue };
        let manifest: Manifest = parse(&raw.bytes, &owner)?;
        let about = manifest.subject.as_ref().is_some_and(|subject| subject.digest == *version);
        if let ([layer], true) = (&manifest.layers[..], about && manifest.is(VERIFY)) {
            let record: VerifyRecord = json(repository, layer, &owner).await?;
            if record.subject == *version {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

//! A version in a registry: found, and read as foreign.

use imgbake_build::{BuildError, BuildErrorKind, EvidenceKind};
use imgbake_disk::chunk::ChunkTable;
use imgbake_oci::{RawManifest, Repository};
use imgbake_types::record::{ImageConfig, VersionView};
use imgbake_types::{Digest, Target};
use tokio::sync::OnceCell;

use crate::Result;
use crate::evidence::remote;
use crate::files::{MAX_JSON, damaged, parse};
use crate::index::Index;
use crate::oci::{Descriptor, INDEX, Manifest, VERSION};
use crate::restore::Packed;
use crate::version::{check_chunked, check_index, chunked_entry, read_config};

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

    /// Reads the version whose index was found.
    pub(crate) async fn read(
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
        let manifest = check_chunked(manifest, version, &label)?;
        let config = read_config(&document(repository, &manifest.config, &label).await?, &label)?;
        let documents = found.bytes.len() + raw.bytes.len();
        let document_bytes = documents as u64 + manifest.config.size;
        let disk = config.disk.clone();
        let packed = Packed { label, disk, layers: manifest.layers };
        let table_bytes = packed.table_blob()?.size;
        Ok(Self {
            repository: repository.clone(),
            digest: found.digest.clone(),
            tag: version.annotations.get(VERSION).cloned(),
            image: config,
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
        let (tags, kind) = (OnceCell::new(), EvidenceKind::VERIFY);
        let found = remote::list(&self.repository, &tags, &self.digest, Some(&kind)).await?;
        let verify = found.newest_verify(&self.digest);
        let mut view = VersionView::new(image, self.digest.clone(), channels, verify.record);
        view.verify.unreadable = verify.unreadable;
        Ok(view)
    }

    /// Whether a tag is another name than the version's own.
    pub fn is_channel(&self, tag: &str) -> bool {
        self.tag.as_deref() != Some(tag)
    }
}

/// A version's index; `None` where the manifest is of something else.
pub(crate) fn index_of(manifest: &RawManifest, label: &str) -> Result<Option<Index>> {
    if manifest.media_type != INDEX {
        return Ok(None);
    }
    let index = parse(&manifest.bytes, &format!("the index {} of {label}", manifest.digest))?;
    check_index(index, label)
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

/// A small blob.
pub(crate) async fn document(
    repository: &Repository,
    blob: &Descriptor,
    label: &str,
) -> Result<Vec<u8>> {
    if blob.size > MAX_JSON {
        let (media_type, most) = (blob.media_type.escape_debug(), MAX_JSON >> 20);
        let what =
            format!("the {media_type} of {label} has {} bytes: {most} MiB are read", blob.size);
        return Err(damaged(what));
    }
    Ok(repository.piece(&blob.digest, blob.size, 0..blob.size).await?)
}

/// A small blob as JSON.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(
    repository: &Repository,
    blob: &Descriptor,
    label: &str,
) -> Result<T> {
    let bytes = document(repository, blob, label).await?;
    parse(&bytes, &format!("the blob {} of {label}", blob.digest))
}

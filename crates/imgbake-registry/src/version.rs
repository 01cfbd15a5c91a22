//! A version's documents: its index, the manifest of its disk in chunks, its config.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Digest;
use imgbake_types::record::{ImageConfig, Problem, format};
use serde_json::Value;

use crate::Result;
use crate::files::{damaged, parse};
use crate::index::{Index, Tagged};
use crate::oci::{
    CHUNKED, CHUNKED_FORM, Descriptor, FORM, IMAGE, INDEX, MANIFEST, Manifest, VERSION,
};
use crate::problem::unreadable;
use crate::store::Store;
use crate::tags::is_hidden;

/// What the artifact types of versions begin with, of whichever format.
const IMAGES: &str = "application/vnd.imgbake.image.";
/// The oldest imgbake that reads a version, in its index, where that is newer than the index's form.
const NEEDS: &str = "io.imgbake.needs";
/// Where imgbake's own record is in a version's config.
const RECORD: &str = "io.imgbake.image";

/// The version's index that a tag points at; `None` where it is no image of imgbake's.
pub(crate) fn version_index(store: &Store, entry: Tagged<'_>) -> Result<Option<Index>> {
    if is_hidden(entry.tag) || entry.descriptor.media_type != INDEX {
        return Ok(None);
    }
    let label = entry.label();
    check_index(store.blobs.json(entry.descriptor, &label)?, &label)
}

/// An index, if it is a version's; `None` where it is of something else.
///
/// # Errors
/// It is a version of a newer format.
pub(crate) fn check_index(index: Index, label: &str) -> Result<Option<Index>> {
    match index.artifact_type.as_deref() {
        Some(IMAGE) => Ok(Some(index)),
        Some(other) if other.starts_with(IMAGES) => {
            let needs = index.annotations.get(NEEDS).cloned();
            Err(unreadable(label, Problem::Newer { format: None, needs }))
        }
        _ => Ok(None),
    }
}

/// The manifest of a version's disk in chunks.
pub(crate) fn chunked(store: &Store, version: &Index, label: &str) -> Result<Manifest> {
    let manifest: Manifest = store.blobs.json(chunked_entry(version, label)?, label)?;
    check_chunked(manifest, version, label)
}

/// What a version's index says of the manifest of its disk in chunks.
pub(crate) fn chunked_entry<'a>(version: &'a Index, label: &str) -> Result<&'a Descriptor> {
    let form = |entry: &Descriptor| entry.annotations.get(FORM).cloned();
    let found = version.manifests.iter().find(|entry| {
        entry.media_type == MANIFEST && form(entry).is_some_and(|form| form == CHUNKED_FORM)
    });
    found.ok_or_else(|| {
        let forms: Vec<String> = version
            .manifests
            .iter()
            .map(|entry| form(entry).unwrap_or_else(|| entry.media_type.clone()))
            .collect();
        foreign_disk(version, label, &format!("[{}]", forms.join(", ")))
    })
}

/// The manifest, if it is one of a disk in chunks.
pub(crate) fn check_chunked(manifest: Manifest, version: &Index, label: &str) -> Result<Manifest> {
    if manifest.is(CHUNKED) {
        return Ok(manifest);
    }
    let has = manifest.artifact_type.as_deref().unwrap_or("one of no type");
    Err(foreign_disk(version, label, has))
}

/// The error for a version without a disk in chunks that this imgbake reads.
fn foreign_disk(version: &Index, label: &str, has: &str) -> BuildError {
    if let Some(needs) = version.annotations.get(NEEDS) {
        return unreadable(label, Problem::Newer { format: None, needs: Some(needs.clone()) });
    }
    damaged(format!("{label} has no disk in chunks that imgbake reads, but {has}"))
        .help("it was made by a newer imgbake, or by another tool")
}

/// imgbake's record in a version's config, from the config's bytes.
pub(crate) fn read_config(bytes: &[u8], label: &str) -> Result<ImageConfig> {
    let what = format!("the config of {label}");
    let config: Value = parse(bytes, &what)?;
    let record = config.get(RECORD).ok_or_else(|| {
        damaged(format!("{what} has no record of imgbake's: there is no `{RECORD}`"))
    })?;
    format::read_value(record).map_err(|problem| unreadable(&what, problem))
}

/// A version's config.
pub(crate) fn config(store: &Store, version: &Index, label: &str) -> Result<ImageConfig> {
    let manifest = chunked(store, version, label)?;
    read_config(&store.blobs.read(&manifest.config, label)?, label)
}

/// Whether a tag names a version; else it is a channel, or none of imgbake's.
pub(crate) fn is_version(store: &Store, entry: Tagged<'_>) -> Result<bool> {
    Ok(version_index(store, entry)?.is_some_and(|version| names_itself(&version, entry.tag)))
}

/// Whether a version's index has a tag as its own name.
pub(crate) fn names_itself(version: &Index, tag: &str) -> bool {
    version.annotations.get(VERSION).is_some_and(|version| version == tag)
}

/// A version's tag and index by its digest, under whichever name it has.
pub(crate) fn by_digest(store: &Store, index: &Index, digest: &Digest) -> Result<(String, Index)> {
    let entry =
        index.tagged().find(|entry| entry.descriptor.digest == *digest && !is_hidden(entry.tag));
    let lost = || {
        BuildError::new(BuildErrorKind::NotFound, format!("the registry has no version {digest}"))
    };
    let entry = entry.ok_or_else(lost)?;
    Ok((entry.label(), version_index(store, entry)?.ok_or_else(lost)?))
}

/// An image's tags, without the hidden ones.
pub(crate) fn of_name<'a>(
    index: &'a Index,
    name: &str,
) -> impl DoubleEndedIterator<Item = Tagged<'a>> {
    let entries: Vec<_> =
        index.tagged().filter(|entry| entry.name == name && !is_hidden(entry.tag)).collect();
    entries.into_iter()
}

//! Finding versions by what people call them.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Reference, Target};

use crate::Result;
use crate::files::damaged;
use crate::index::{Index, Names, Tagged};
use crate::missing;
use crate::oci::{
    CHUNKED, CHUNKED_FORM, Config, Descriptor, FORM, IMAGE, INDEX, MANIFEST, Manifest, VERSION,
};
use crate::store::Store;
use crate::tags::{self, is_hidden};
use crate::verify;

/// The fewest digits of a digest that a tag may stand for.
const SHORTEST_PREFIX: usize = 6;

/// The version's index that a tag points at; `None` where it is no image of imgbake's.
pub(crate) fn version_index(store: &Store, entry: Tagged<'_>) -> Result<Option<Index>> {
    if is_hidden(entry.tag) || entry.descriptor.media_type != INDEX {
        return Ok(None);
    }
    let index: Index = store.blobs.json(entry.descriptor, &entry.label())?;
    Ok((index.artifact_type.as_deref() == Some(IMAGE)).then_some(index))
}

/// The manifest of a version's disk in chunks.
pub(crate) fn chunked(store: &Store, version: &Index, label: &str) -> Result<Manifest> {
    let manifest: Manifest = store.blobs.json(chunked_entry(version, label)?, label)?;
    check_chunked(manifest, label)
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
        unreadable(label, &format!("[{}]", forms.join(", ")))
    })
}

/// The manifest, if it is one of a disk in chunks.
pub(crate) fn check_chunked(manifest: Manifest, label: &str) -> Result<Manifest> {
    if manifest.is(CHUNKED) {
        return Ok(manifest);
    }
    Err(unreadable(label, manifest.artifact_type.as_deref().unwrap_or("one of no type")))
}

fn unreadable(label: &str, has: &str) -> BuildError {
    damaged(format!("{label} has no disk in chunks that imgbake reads, but {has}"))
        .help("it was made by a newer imgbake, or by another tool")
}

/// A version's config.
pub(crate) fn config(store: &Store, version: &Index, label: &str) -> Result<Config> {
    store.blobs.json(&chunked(store, version, label)?.config, label)
}

/// Whether a tag names a version; else it is a channel, or none of imgbake's.
pub(crate) fn is_version(store: &Store, entry: Tagged<'_>) -> Result<bool> {
    Ok(version_index(store, entry)?.is_some_and(|version| names_itself(&version, entry.tag)))
}

fn names_itself(version: &Index, tag: &str) -> bool {
    version.annotations.get(VERSION).is_some_and(|version| version == tag)
}

/// All versions, or those of one image, in the order in which they were published.
pub(crate) fn list(store: &Store, index: &Index, name: Option<&str>) -> Result<Vec<VersionView>> {
    let names = Names::of(index);
    let mut views = Vec::new();
    for entry in index.tagged().filter(|entry| name.is_none_or(|name| name == entry.name)) {
        if let Some(version) = version_index(store, entry)?
            && names_itself(&version, entry.tag)
        {
            views.push(view(store, &names, entry, &version)?);
        }
    }
    Ok(views)
}

/// The version that a reference names.
pub(crate) fn resolve(store: &Store, reference: &Reference) -> Result<VersionView> {
    if let Some(host) = &reference.host {
        let text = format!("{reference} is in the registry {host}, not in the local one");
        return Err(BuildError::new(BuildErrorKind::Usage, text).help("leave the host out"));
    }
    let index = store.index()?;
    let name = reference.name.as_str();
    let found = match &reference.target {
        None => newest(store, &index, name)?,
        Some(Target::Tag(tag)) => match index.find(name, tag).filter(|entry| !is_hidden(entry.tag))
        {
            Some(entry) => Some(entry),
            None => by_prefix(&index, name, tag)?,
        },
        Some(Target::Digest(digest)) => {
            of_name(&index, name).find(|entry| entry.descriptor.digest == *digest)
        }
    };
    let entry = found.ok_or_else(|| missing::version(store, &index, reference))?;
    let version = version_index(store, entry)?
        .ok_or_else(|| damaged(format!("{} is no image that imgbake made", entry.label())))?;
    view(store, &Names::of(&index), entry, &version)
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

fn newest<'a>(store: &Store, index: &'a Index, name: &str) -> Result<Option<Tagged<'a>>> {
    for entry in of_name(index, name).rev() {
        if is_version(store, entry)? {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

fn by_prefix<'a>(index: &'a Index, name: &str, digits: &str) -> Result<Option<Tagged<'a>>> {
    if digits.len() < SHORTEST_PREFIX || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let digits = digits.to_ascii_lowercase();
    let mut found =
        of_name(index, name).filter(|entry| entry.descriptor.digest.hex().starts_with(&digits));
    let Some(first) = found.next() else { return Ok(None) };
    if found.any(|entry| entry.descriptor.digest != first.descriptor.digest) {
        let text =
            format!("more than one version of {name} has a digest that begins with {digits}");
        return Err(
            BuildError::new(BuildErrorKind::Usage, text).help("give more of the digest's digits")
        );
    }
    Ok(Some(first))
}

fn view(
    store: &Store,
    names: &Names<'_>,
    entry: Tagged<'_>,
    version: &Index,
) -> Result<VersionView> {
    let mut image = config(store, version, &entry.label())?.image;
    entry.name.clone_into(&mut image.name);
    let digest = &entry.descriptor.digest;
    let channels = names.tags(entry.name, digest).iter();
    let channels = channels.filter(|tag| **tag != image.version.as_str());
    let channels = channels.map(|tag| (*tag).to_owned()).collect();
    let records = names.find(entry.name, &tags::referrers(digest));
    let record = verify::newest(store, records, entry.name, digest)?;
    Ok(VersionView::new(image, digest.clone(), channels, record))
}

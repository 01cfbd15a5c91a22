//! Finding versions by what people call them.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::VersionView;
use imgbake_types::{Digest, Reference, Target};

use crate::Result;
use crate::files::damaged;
use crate::index::{Index, Tagged};
use crate::missing;
use crate::oci::{Config, IMAGE, MANIFEST, Manifest, VERSION};
use crate::store::Store;
use crate::tags::is_hidden;
use crate::verify;

/// The fewest digits of a digest that a tag may stand for.
const SHORTEST_PREFIX: usize = 6;

/// The manifest that a tag points at; `None` where it is no image of imgbake's.
pub(crate) fn manifest(store: &Store, entry: Tagged<'_>) -> Result<Option<Manifest>> {
    if is_hidden(entry.tag) || entry.descriptor.media_type != MANIFEST {
        return Ok(None);
    }
    let manifest: Manifest = store.blobs.json(entry.descriptor, &entry.label())?;
    Ok(manifest.is(IMAGE).then_some(manifest))
}

/// Whether a tag names a version; else it is a channel, or none of imgbake's.
pub(crate) fn is_version(store: &Store, entry: Tagged<'_>) -> Result<bool> {
    Ok(manifest(store, entry)?.is_some_and(|manifest| names_itself(&manifest, entry.tag)))
}

fn names_itself(manifest: &Manifest, tag: &str) -> bool {
    manifest.annotations.get(VERSION).is_some_and(|version| version == tag)
}

/// All versions, or those of one image, in the order in which they were published.
pub(crate) fn list(store: &Store, name: Option<&str>) -> Result<Vec<VersionView>> {
    let index = store.index()?;
    let mut views = Vec::new();
    for entry in index.tagged().filter(|entry| name.is_none_or(|name| name == entry.name)) {
        if let Some(manifest) = manifest(store, entry)?
            && names_itself(&manifest, entry.tag)
        {
            views.push(view(store, &index, entry, &manifest)?);
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
    let manifest = manifest(store, entry)?
        .ok_or_else(|| damaged(format!("{} is no image that imgbake made", entry.label())))?;
    view(store, &index, entry, &manifest)
}

/// A digest's tag and manifest, under whichever name it has.
pub(crate) fn by_digest(
    store: &Store,
    index: &Index,
    digest: &Digest,
) -> Result<(String, Manifest)> {
    let entry =
        index.tagged().find(|entry| entry.descriptor.digest == *digest && !is_hidden(entry.tag));
    let lost = || {
        BuildError::new(BuildErrorKind::NotFound, format!("the registry has no version {digest}"))
    };
    let entry = entry.ok_or_else(lost)?;
    Ok((entry.label(), manifest(store, entry)?.ok_or_else(lost)?))
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
    index: &Index,
    entry: Tagged<'_>,
    manifest: &Manifest,
) -> Result<VersionView> {
    let config: Config = store.blobs.json(&manifest.config, &entry.label())?;
    let mut image = config.image;
    entry.name.clone_into(&mut image.name);
    let digest = &entry.descriptor.digest;
    let channels = of_name(index, entry.name)
        .filter(|other| other.descriptor.digest == *digest && other.tag != image.version.as_str())
        .map(|other| other.tag.to_owned())
        .collect();
    let record = verify::newest(store, index, entry.name, digest)?;
    Ok(VersionView::new(image, digest.clone(), channels, record))
}

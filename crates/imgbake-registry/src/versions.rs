//! Versions as people call them: lists, and what a reference names.

mod layout;
mod remote;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::{ListedVersion, UnreadableVersion, VersionView};
use imgbake_types::{Reference, Target, VersionName};

use crate::files::damaged;
use crate::index::{Index, Names, Tagged};
use crate::oci::REASON;
use crate::problem::problem_of;
use crate::store::Store;
use crate::tags::{self, is_hidden};
use crate::version::{config, is_version, names_itself, of_name, version_index};
use crate::{Result, evidence, not_found};

/// The fewest digits of a digest that a tag may stand for.
const SHORTEST_PREFIX: usize = 6;

/// All versions, or those of one image, in the order in which they were published. One that cannot be
/// read is listed as such.
pub(crate) fn list(store: &Store, index: &Index, name: Option<&str>) -> Vec<ListedVersion> {
    let names = Names::of(index);
    let entries = index.tagged().filter(|entry| name.is_none_or(|name| name == entry.name));
    entries.filter_map(|entry| listed(store, &names, entry)).collect()
}

/// A tag as an entry of a list; `None` where it names no version.
fn listed(store: &Store, names: &Names<'_>, entry: Tagged<'_>) -> Option<ListedVersion> {
    let tag: VersionName = entry.tag.parse().ok()?;
    let error = match version_index(store, entry) {
        Ok(Some(version)) if names_itself(&version, entry.tag) => {
            match view(store, names, entry, &version) {
                Ok(view) => return Some(ListedVersion::Readable(Box::new(view))),
                Err(error) => error,
            }
        }
        Ok(_) => return None,
        Err(_) if is_probably_channel(names, entry) => return None,
        Err(error) => error,
    };
    Some(ListedVersion::Unreadable(UnreadableVersion {
        name: entry.name.to_owned(),
        version: tag,
        digest: entry.descriptor.digest.clone(),
        channels: channels(names, entry, entry.tag),
        problem: problem_of(&error),
    }))
}

/// Whether a tag, whose index cannot be read and says nothing, is a channel: it has a history, or another
/// tag had the same digest before.
fn is_probably_channel(names: &Names<'_>, entry: Tagged<'_>) -> bool {
    let has_history = |tag: &str| names.find(entry.name, &tags::history(tag)).is_some();
    let tags = names.tags(entry.name, &entry.descriptor.digest);
    let first = tags.iter().find(|tag| !has_history(tag));
    has_history(entry.tag) || first.is_some_and(|tag| *tag != entry.tag)
}

/// The channels of a digest whose version has the tag `own`.
fn channels(names: &Names<'_>, entry: Tagged<'_>, own: &str) -> Vec<String> {
    let tags = names.tags(entry.name, &entry.descriptor.digest).iter();
    tags.filter(|tag| **tag != own).map(|tag| (*tag).to_owned()).collect()
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
    let entry = found.ok_or_else(|| not_found::version(store, &index, reference))?;
    let version = version_index(store, entry)?
        .ok_or_else(|| damaged(format!("{} is no image that imgbake made", entry.label())))?;
    view(store, &Names::of(&index), entry, &version)
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
    let mut image = config(store, version, &entry.label())?;
    entry.name.clone_into(&mut image.name);
    let digest = &entry.descriptor.digest;
    let channels = channels(names, entry, image.version.as_str());
    let verify = evidence::newest_verify(store, names, entry.name, digest);
    let mut view = VersionView::new(image, digest.clone(), channels, verify.record);
    view.verify.unreadable = verify.unreadable;
    let hold = names.find(entry.name, &tags::hold(view.version.as_str()));
    let reason = |hold: Tagged<'_>| hold.descriptor.annotations.get(REASON).cloned();
    view.hold = hold.map(|hold| reason(hold).unwrap_or_default());
    Ok(view)
}

//! Errors for what is not there, with what is.

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Reference;

use crate::index::Index;
use crate::store::Store;
use crate::tags::is_hidden;
use crate::version::{is_version, of_name};

/// The most names that a hint lists.
const LISTED: usize = 10;
/// How alike two names must be for one to be suggested, from 0 to 1.
const ALIKE: f64 = 0.75;

/// The error for a reference that names nothing.
pub(crate) fn version(store: &Store, index: &Index, reference: &Reference) -> BuildError {
    let name = reference.name.as_str();
    if of_name(index, name).next().is_none() {
        return image(index, name);
    }
    // A damaged manifest is reported when it is asked for; here it only counts as no version.
    let (versions, channels): (Vec<_>, Vec<_>) =
        of_name(index, name).rev().partition(|entry| is_version(store, *entry).unwrap_or(false));
    let names =
        |entries: Vec<crate::index::Tagged<'_>>| entries.iter().map(|e| e.tag.to_owned()).collect();
    let (versions, channels): (Vec<String>, Vec<String>) = (names(versions), names(channels));
    let meant = reference.tag_name().and_then(|tag| suggest(tag, versions.iter().chain(&channels)));
    let meant = meant.map_or_else(String::new, |tag| format!("did you mean {name}:{tag}? "));
    let (channels, versions) = (listed(&channels), listed(&versions));
    let help = format!("{meant}channels: {channels}; versions, newest first: {versions}");
    BuildError::new(BuildErrorKind::NotFound, format!("there is no {reference}")).help(help)
}

/// The error for an image of which there is nothing.
pub(crate) fn image(index: &Index, name: &str) -> BuildError {
    let mut images: Vec<String> = index
        .tagged()
        .filter(|entry| !is_hidden(entry.tag))
        .map(|entry| entry.name.to_owned())
        .collect();
    images.sort();
    images.dedup();
    let help = match suggest(name, &images) {
        Some(meant) => format!("did you mean {meant}? images: {}", listed(&images)),
        None if images.is_empty() => {
            "the registry is empty: `imgbake build TEMPLATE` makes a version".to_owned()
        }
        None => format!("images: {}", listed(&images)),
    };
    BuildError::new(BuildErrorKind::NotFound, format!("there is no image {name}")).help(help)
}

/// The error for a channel of an image that was never moved.
pub(crate) fn channel(store: &Store, index: &Index, name: &str, channel: &str) -> BuildError {
    version(store, index, &Reference::tag(name, channel))
}

fn suggest<'a>(given: &str, names: impl IntoIterator<Item = &'a String>) -> Option<&'a String> {
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(given, name), name));
    scored
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        count if count > LISTED => format!("{shown} and {} more", count - LISTED),
        _ => shown,
    }
}

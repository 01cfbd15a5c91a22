//! `index.json`, the names of everything in the layout, looked up at once.

use std::collections::HashMap;

pub(crate) use imgbake_oci::{Index, Tagged};
use imgbake_types::Digest;

use crate::tags::is_hidden;

/// An index for whoever asks for many names: none of them is looked for.
pub(crate) struct Names<'a>(HashMap<&'a str, Image<'a>>);

/// What an index has of one name.
#[derive(Default)]
struct Image<'a> {
    entries: HashMap<&'a str, Tagged<'a>>,
    /// Tags, the hidden ones aside, of each digest, in their order.
    tags: HashMap<&'a Digest, Vec<&'a str>>,
}

impl<'a> Names<'a> {
    /// All names of an index.
    pub(crate) fn of(index: &'a Index) -> Self {
        let mut images: HashMap<&str, Image<'_>> = HashMap::new();
        for entry in index.tagged() {
            let image = images.entry(entry.name).or_default();
            image.entries.entry(entry.tag).or_insert(entry);
            if !is_hidden(entry.tag) {
                image.tags.entry(&entry.descriptor.digest).or_default().push(entry.tag);
            }
        }
        Self(images)
    }

    /// What a name's tag points at.
    pub(crate) fn find(&self, name: &str, tag: &str) -> Option<Tagged<'a>> {
        self.0.get(name)?.entries.get(tag).copied()
    }

    /// The tags by which people call a name's digest.
    pub(crate) fn tags(&self, name: &str, digest: &Digest) -> &[&'a str] {
        let tags = self.0.get(name).and_then(|image| image.tags.get(digest));
        tags.map_or(&[], Vec::as_slice)
    }
}

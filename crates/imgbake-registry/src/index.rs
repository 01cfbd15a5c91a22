//! `index.json`, the names of everything in the layout, and the other indexes.

use std::collections::HashMap;

use imgbake_types::Digest;
use imgbake_types::reference::is_name;
use imgbake_types::version::is_tag;
use serde::{Deserialize, Serialize};

use crate::oci::{Annotations, Descriptor, INDEX, REF_NAME};
use crate::tags::is_hidden;

/// An image index (image-spec, image-index.md); `index.json` is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default = "index_type")]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations,
}

fn index_type() -> String {
    INDEX.to_owned()
}

/// A descriptor with its name and tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tagged<'a> {
    pub(crate) name: &'a str,
    pub(crate) tag: &'a str,
    pub(crate) descriptor: &'a Descriptor,
}

impl Tagged<'_> {
    /// `NAME:TAG`
    pub(crate) fn label(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

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

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: index_type(),
            artifact_type: None,
            manifests: Vec::new(),
            annotations: Annotations::new(),
        }
    }
}

impl Index {
    /// Everything with a name of the form `NAME:TAG`, in the order of its first naming. What others
    /// put there under other names is not imgbake's.
    pub(crate) fn tagged(&self) -> impl Iterator<Item = Tagged<'_>> {
        self.manifests.iter().filter_map(|descriptor| {
            let (name, tag) = descriptor.annotations.get(REF_NAME)?.rsplit_once(':')?;
            (is_name(name) && is_tag(tag)).then_some(Tagged { name, tag, descriptor })
        })
    }

    /// What a name's tag points at.
    pub(crate) fn find(&self, name: &str, tag: &str) -> Option<Tagged<'_>> {
        self.tagged().find(|entry| entry.name == name && entry.tag == tag)
    }

    /// Points a name's tag at something, whatever it pointed at before.
    pub(crate) fn set(&mut self, name: &str, tag: &str, descriptor: Descriptor) {
        self.set_label(&format!("{name}:{tag}"), descriptor);
    }

    /// Takes the names away, with their tags, that a test picks.
    pub(crate) fn remove(&mut self, picked: impl Fn(&str, &str) -> bool) {
        self.manifests.retain(|descriptor| {
            let label =
                descriptor.annotations.get(REF_NAME).and_then(|label| label.rsplit_once(':'));
            !label.is_some_and(|(name, tag)| picked(name, tag))
        });
    }

    /// What a label of any form points at.
    pub(crate) fn label(&self, label: &str) -> Option<&Descriptor> {
        let named =
            |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|name| name == label);
        self.manifests.iter().find(named)
    }

    /// Points a label of any form at something, whatever it pointed at before.
    pub(crate) fn set_label(&mut self, label: &str, mut descriptor: Descriptor) {
        descriptor.annotations.insert(REF_NAME.to_owned(), label.to_owned());
        let named = |entry: &&mut Descriptor| {
            entry.annotations.get(REF_NAME).is_some_and(|name| name == label)
        };
        match self.manifests.iter_mut().find(named) {
            Some(entry) => *entry = descriptor,
            None => self.manifests.push(descriptor),
        }
    }
}

//! `index.json`, the names of everything in the layout, and the other indexes.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use imgbake_types::reference::is_name;
use imgbake_types::version::is_tag;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::document::{Annotations, Descriptor, INDEX, REF_NAME, or_default};

/// An image index (image-spec, image-index.md); `index.json` is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`INDEX`].
    #[serde(default = "index_type", deserialize_with = "index_type_or_null")]
    pub media_type: String,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, in order.
    #[serde(deserialize_with = "or_default")]
    pub manifests: Entries,
    /// Annotations.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Annotations::is_empty"
    )]
    pub annotations: Annotations,
    /// Everything else that another tool or a later format put there.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

fn index_type() -> String {
    INDEX.to_owned()
}

fn index_type_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(|given| given.unwrap_or_else(index_type))
}

/// What an index lists. What is no descriptor that is known here, such as one with a digest of another
/// kind, is kept as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entries {
    known: Vec<Descriptor>,
    foreign: Vec<Value>,
}

impl Entries {
    /// What is not known here.
    pub fn foreign(&self) -> &[Value] {
        &self.foreign
    }
}

impl From<Vec<Descriptor>> for Entries {
    fn from(known: Vec<Descriptor>) -> Self {
        Self { known, foreign: Vec::new() }
    }
}

impl From<Entries> for Vec<Descriptor> {
    fn from(entries: Entries) -> Self {
        entries.known
    }
}

impl Deref for Entries {
    type Target = Vec<Descriptor>;

    fn deref(&self) -> &Vec<Descriptor> {
        &self.known
    }
}

impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut Vec<Descriptor> {
        &mut self.known
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.known.len() + self.foreign.len()))?;
        self.known.iter().try_for_each(|entry| list.serialize_element(entry))?;
        self.foreign.iter().try_for_each(|entry| list.serialize_element(entry))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Entry {
            Known(Descriptor),
            Foreign(Value),
        }
        let mut entries = Self::default();
        for entry in Vec::<Entry>::deserialize(deserializer)? {
            match entry {
                Entry::Known(descriptor) => entries.known.push(descriptor),
                Entry::Foreign(Value::Null) => {}
                Entry::Foreign(value) => entries.foreign.push(value),
            }
        }
        Ok(entries)
    }
}

/// A descriptor with its name and tag.
#[derive(Debug, Clone, Copy)]
pub struct Tagged<'a> {
    /// The name.
    pub name: &'a str,
    /// The tag.
    pub tag: &'a str,
    /// What they point at.
    pub descriptor: &'a Descriptor,
}

impl Tagged<'_> {
    /// `NAME:TAG`
    pub fn label(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: index_type(),
            artifact_type: None,
            manifests: Entries::default(),
            annotations: Annotations::new(),
            rest: BTreeMap::new(),
        }
    }
}

impl Index {
    /// Everything with a name of the form `NAME:TAG`, in the order of its first naming. What others
    /// put there under other names is not imgbake's.
    pub fn tagged(&self) -> impl Iterator<Item = Tagged<'_>> {
        self.manifests.iter().filter_map(|descriptor| {
            let (name, tag) = descriptor.annotations.get(REF_NAME)?.rsplit_once(':')?;
            (is_name(name) && is_tag(tag)).then_some(Tagged { name, tag, descriptor })
        })
    }

    /// What a name's tag points at.
    pub fn find(&self, name: &str, tag: &str) -> Option<Tagged<'_>> {
        self.tagged().find(|entry| entry.name == name && entry.tag == tag)
    }

    /// Points a name's tag at something, whatever it pointed at before.
    pub fn set(&mut self, name: &str, tag: &str, descriptor: Descriptor) {
        self.set_label(&format!("{name}:{tag}"), descriptor);
    }

    /// Takes the names away, with their tags, that a test picks.
    pub fn remove(&mut self, picked: impl Fn(&str, &str) -> bool) {
        self.manifests.retain(|descriptor| {
            let label =
                descriptor.annotations.get(REF_NAME).and_then(|label| label.rsplit_once(':'));
            !label.is_some_and(|(name, tag)| picked(name, tag))
        });
    }

    /// What a label of any form points at.
    pub fn label(&self, label: &str) -> Option<&Descriptor> {
        let named =
            |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|name| name == label);
        self.manifests.iter().find(named)
    }

    /// Points a label of any form at something, whatever it pointed at before.
    pub fn set_label(&mut self, label: &str, mut descriptor: Descriptor) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_put_into_an_index_survives_a_rewrite() {
        let text = r#"{"schemaVersion":2,"manifests":[],"subject":{"size":2},"io.example":[1]}"#;
        let mut index: Index = serde_json::from_str(text).unwrap_or_default();
        index.set("web", "1", Descriptor::new(INDEX, imgbake_types::Digest::sha256("x"), 1));
        let written = serde_json::to_value(&index).unwrap_or_default();
        assert_eq!(written["subject"]["size"], 2);
        assert_eq!(written["io.example"][0], 1);
        assert_eq!(written["manifests"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn null_is_nothing_and_a_foreign_entry_stays() {
        let own = Descriptor::new(INDEX, imgbake_types::Digest::sha256("x"), 1);
        let mut with_null = serde_json::to_value(&own).unwrap_or_default();
        with_null["annotations"] = Value::Null;
        let foreign =
            serde_json::json!({"digest": format!("sha384:{}", "a".repeat(96)), "size": 1});
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": null, "annotations": null, "manifests": [with_null, foreign, null],
        });
        let index: Index = serde_json::from_value(index).expect("is an index");
        assert_eq!(
            (&index.manifests[..], index.manifests.foreign()),
            (&[own][..], &[foreign.clone()][..])
        );
        assert_eq!(serde_json::to_value(&index).unwrap_or_default()["manifests"][1], foreign);
        for text in
            [r#"{"schemaVersion":2,"manifests":null}"#, r#"{"schemaVersion":2,"manifests":[]}"#]
        {
            assert_eq!(serde_json::from_str::<Index>(text).ok(), Some(Index::default()));
        }
    }
}

//! cosign's tags, `sha256-HEX.sig` and its like: each says something of a manifest, and grows by a layer
//! with every signature. A copy takes them along and loses nothing that was said.

use std::collections::BTreeSet;

use imgbake_oci::RawManifest;
use imgbake_types::Digest;
use serde::Deserialize;

use crate::oci::Annotations;

/// A tag of cosign's that a copy brings.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) tag: String,
    pub(crate) manifest: RawManifest,
}

/// A tag of cosign's that a copy left as it was.
#[derive(Debug)]
pub(crate) struct Stayed {
    tag: String,
    there: Digest,
    new: Digest,
}

/// What becomes of such a tag in the new place.
pub(crate) enum Fate {
    /// It names what comes.
    Moves,
    /// It has all that comes.
    Has,
    /// It has something that would be lost.
    Stays(Stayed),
}

/// What of a manifest matters here (image-spec, manifest.md).
#[derive(Deserialize)]
struct Said {
    layers: Vec<Layer>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Layer {
    digest: Digest,
    #[serde(default)]
    annotations: Option<Annotations>,
}

impl Signed {
    /// What becomes of the tag where it names this, or nothing.
    pub(crate) fn fate(&self, there: Option<(&Digest, &[u8])>) -> Fate {
        let Some((digest, bytes)) = there else { return Fate::Moves };
        let new = &self.manifest;
        if *digest == new.digest || holds(bytes, &new.bytes) {
            return Fate::Has;
        }
        if holds(&new.bytes, bytes) {
            return Fate::Moves;
        }
        let (tag, new) = (self.tag.clone(), new.digest.clone());
        Fate::Stays(Stayed { tag, there: digest.clone(), new })
    }
}

impl Stayed {
    /// Shows people, who have to choose.
    pub(crate) fn words(&self, from: &str, to: &str) -> String {
        let Self { tag, there, new } = self;
        format!(
            "{to}:{tag} stays {there}: {new}, which {from} has, lacks something of it and is left out; \
             delete that tag and copy again to have the other"
        )
    }
}

/// Whether a manifest says all that another does: the same layers with the same annotations, where
/// cosign has the signatures. What is no manifest of layers says nothing that is known.
fn holds(all: &[u8], some: &[u8]) -> bool {
    let layers = |bytes| {
        let said: Said = serde_json::from_slice(bytes).ok()?;
        Some(said.layers.into_iter().collect::<BTreeSet<_>>())
    };
    layers(all).zip(layers(some)).is_some_and(|(all, some)| some.is_subset(&all))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(layers: &[(&str, &str)]) -> Vec<u8> {
        let layers = layers.iter().map(|(words, signature)| {
            let digest = Digest::sha256(words).to_string();
            json!({ "digest": digest, "annotations": { "signature": signature } })
        });
        json!({ "layers": layers.collect::<Vec<Value>>() }).to_string().into_bytes()
    }

    #[test]
    fn knows_who_says_more() {
        let [one, other, both] = [
            manifest(&[("x", "1")]),
            manifest(&[("x", "2")]),
            manifest(&[("x", "2"), ("x", "1"), ("y", "1")]),
        ];
        for (all, some, expected) in [
            (&one, &one, true),
            (&both, &one, true),
            (&both, &other, true),
            (&one, &both, false),
            (&one, &other, false),
            (&one, &manifest(&[]), true),
            (&one, &b"{}".to_vec(), false),
            (&one, &b"".to_vec(), false),
            (&b"[]".to_vec(), &one, false),
        ] {
            assert_eq!(holds(all, some), expected, "{}", String::from_utf8_lossy(some));
        }
    }
}

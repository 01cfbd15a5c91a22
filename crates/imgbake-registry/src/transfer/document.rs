//! What a manifest leads to, whatever it is the manifest of.

use imgbake_build::BuildError;
use imgbake_oci::RawManifest;
use imgbake_oci::{DOCKER_LIST, MANIFEST_TYPES};
use imgbake_types::Digest;
use serde::Deserialize;

use super::check::check;
use crate::Result;
use crate::oci::{Annotations, Descriptor, INDEX, VERSION};

/// What of a manifest matters to whoever moves it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Document {
    /// The manifests of an index.
    pub(crate) children: Vec<Descriptor>,
    /// The config and layers of a manifest.
    pub(crate) blobs: Vec<Descriptor>,
    /// What it refers to.
    pub(crate) subject: Option<Digest>,
    /// The version's name that it carries.
    pub(crate) version: Option<String>,
}

/// image-spec, manifest.md and image-index.md.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

impl Document {
    /// Reads a foreign manifest; nothing that it says is believed beyond its form.
    pub(crate) fn read(manifest: &RawManifest, owner: &str) -> Result<Self> {
        let owner = format!("the manifest {} of {owner}", manifest.digest);
        let wire: Wire = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| BuildError::failed(format!("cannot read {owner}")).because(error))?;
        let refuse = |why: &str| BuildError::failed(format!("{owner} cannot be copied: {why}"));
        let is_index = [INDEX, DOCKER_LIST].contains(&manifest.media_type.as_str());
        // A document of two kinds means one thing here and another elsewhere.
        let (children, blobs) = match (is_index, wire.manifests, wire.config, wire.layers) {
            (true, Some(children), None, None) => (children, Vec::new()),
            (false, None, Some(config), Some(mut layers)) => {
                layers.insert(0, config);
                (Vec::new(), layers)
            }
            (true, ..) => return Err(refuse("it is an index, and has not just `manifests`")),
            (false, ..) => return Err(refuse("it has not just `config` and `layers`")),
        };
        for descriptor in children.iter().chain(&blobs).chain(&wire.subject) {
            check(descriptor, &owner)?;
        }
        let foreign = |child: &&Descriptor| !MANIFEST_TYPES.contains(&child.media_type.as_str());
        if let Some(child) = children.iter().find(foreign) {
            let media_type = child.media_type.escape_debug();
            return Err(refuse(&format!("it lists what is no manifest known here: {media_type}")));
        }
        Ok(Self {
            children,
            blobs,
            subject: wire.subject.map(|subject| subject.digest),
            version: wire.annotations.and_then(|mut annotations| annotations.remove(VERSION)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::MANIFEST;

    fn read(media_type: &str, value: &Value) -> Result<Document> {
        let bytes = serde_json::to_vec(value).unwrap();
        let digest = Digest::sha256(&bytes);
        let manifest =
            RawManifest { digest, media_type: media_type.to_owned(), bytes: bytes.into() };
        Document::read(&manifest, "r/x")
    }

    fn descriptor(media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::sha256("x").to_string(), "size": 1 })
    }

    #[test]
    fn reads_both_kinds() {
        let config = descriptor("application/x");
        let manifest = json!({
            "config": config, "layers": [descriptor("application/y")], "subject": descriptor(MANIFEST),
            "annotations": { VERSION: "2026.11.23-1" }
        });
        let document = read(MANIFEST, &manifest).unwrap();
        assert_eq!(document.blobs.len(), 2);
        assert_eq!(document.subject, Some(Digest::sha256("x")));
        assert_eq!(document.version.as_deref(), Some("2026.11.23-1"));
        let index = json!({ "manifests": [descriptor(MANIFEST), descriptor(INDEX)] });
        assert_eq!(read(INDEX, &index).unwrap().children.len(), 2);
    }

    #[test]
    fn refuses_hostile_ones() {
        let config = descriptor("application/x");
        for (media_type, value, part) in [
            (INDEX, json!({ "manifests": [descriptor("text/html")] }), "no manifest known here"),
            (INDEX, json!({ "manifests": [], "layers": [], "config": config }), "not just"),
            (MANIFEST, json!({ "manifests": [] }), "not just"),
            (MANIFEST, json!({ "config": config, "layers": {} }), "cannot read"),
            (MANIFEST, json!({ "config": { "digest": "sha256:x" }, "layers": [] }), "cannot read"),
            (MANIFEST, json!({ "config": { "size": -1 }, "layers": [] }), "cannot read"),
            (MANIFEST, json!([]), "not just"),
            (MANIFEST, json!("text"), "cannot read"),
        ] {
            let error = read(media_type, &value).unwrap_err().to_string();
            assert!(error.contains(part), "{value}: {error}");
        }
    }
}

//! A registry with thousands of versions: made of one, document by document, since publishing as many takes
//! half an hour.

use std::fs;
use std::path::{Path, PathBuf};

use imgbake_types::Digest;
use serde_json::{Value, json};

use crate::Result;

/// The annotation that names a descriptor in a layout (image-spec, annotations.md).
const NAME: &str = "org.opencontainers.image.ref.name";

/// Gives the image `name`, which has version 1, all versions up to `count`: each with a config, a manifest and
/// an index of its own.
pub(super) fn fill(registry: &Path, name: &str, count: usize) -> Result<()> {
    let layout = Layout(registry.to_owned());
    let mut top: Value = serde_json::from_slice(&fs::read(layout.0.join("index.json"))?)?;
    let entries = top["manifests"].as_array_mut().ok_or("index.json names nothing")?;
    let first = format!("{name}:1");
    let entry = entries.iter().find(|entry| entry["annotations"][NAME] == first.as_str());
    let entry = entry.ok_or_else(|| format!("there is no {first}"))?.clone();
    let index = layout.read(&entry)?;
    let manifest = layout.read(&index["manifests"][0])?;
    let config = layout.read(&manifest["config"])?;
    let there = entries.iter().filter(|entry| {
        entry["annotations"][NAME]
            .as_str()
            .is_some_and(|label| label.starts_with(&format!("{name}:")))
    });
    for number in there.count() + 1..=count {
        let number = number.to_string();
        let [mut entry, mut index, mut manifest, mut config] =
            [&entry, &index, &manifest, &config].map(Value::clone);
        config["io.imgbake.image"]["version"] = json!(number);
        layout.write(&config, &mut manifest["config"])?;
        layout.write(&manifest, &mut index["manifests"][0])?;
        index["annotations"]["org.opencontainers.image.version"] = json!(number);
        layout.write(&index, &mut entry)?;
        entry["annotations"][NAME] = json!(format!("{name}:{number}"));
        entries.push(entry);
    }
    fs::write(layout.0.join("index.json"), serde_json::to_vec(&top)?)?;
    Ok(())
}

/// An OCI image layout.
struct Layout(PathBuf);

impl Layout {
    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.hex())
    }

    /// The document that a descriptor names.
    fn read(&self, descriptor: &Value) -> Result<Value> {
        let digest: Digest = descriptor["digest"].as_str().unwrap_or_default().parse()?;
        Ok(serde_json::from_slice(&fs::read(self.path(&digest))?)?)
    }

    /// Stores a document, and has a descriptor name it.
    fn write(&self, document: &Value, descriptor: &mut Value) -> Result<()> {
        let bytes = serde_json::to_vec(document)?;
        let digest = Digest::sha256(&bytes);
        fs::write(self.path(&digest), &bytes)?;
        descriptor["digest"] = json!(digest);
        descriptor["size"] = json!(bytes.len());
        Ok(())
    }
}

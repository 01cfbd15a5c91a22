//! A step's key.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use imgbake_template::SecretValue;
use imgbake_types::{Digest, secret};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::PlanError;

/// What keys are made with, and the last one made: each step's parent is the one before it.
pub(crate) struct Keys<'k> {
    pub(crate) tool: &'k str,
    pub(crate) secret_key: &'k [u8],
    pub(crate) secrets: &'k BTreeMap<String, SecretValue>,
    pub(crate) parent: Option<Digest>,
}

impl Keys<'_> {
    /// The key of the next step: the SHA-256 of a JSON text whose objects are sorted by key.
    ///
    /// `settings` holds markers in the place of sensitive values; a value enters as an HMAC, so that
    /// a key tells nothing of it to one who has not this host's secret.
    pub(crate) fn next(
        &mut self,
        step: &str,
        settings: &Value,
        files: &[Digest],
    ) -> Result<Digest, PlanError> {
        let secrets = self.secrets(step, settings)?;
        let text = canonical(&json!({
            "version": 1,
            "tool": self.tool,
            "parent": self.parent.as_ref().map(Digest::to_string),
            "settings": settings,
            "files": files.iter().map(Digest::to_string).collect::<Vec<_>>(),
            "secrets": secrets,
        }));
        let key = Digest::sha256(text);
        self.parent = Some(key.clone());
        Ok(key)
    }

    fn secrets(&self, step: &str, settings: &Value) -> Result<BTreeMap<String, String>, PlanError> {
        let mut out = BTreeMap::new();
        for name in names(settings) {
            let Some(value) = self.secrets.get(&name) else { continue };
            let mut mac = Hmac::<Sha256>::new_from_slice(self.secret_key)
                .map_err(|error| PlanError::Key { step: step.into(), reason: error.to_string() })?;
            mac.update(value.expose().as_bytes());
            let tag = mac.finalize().into_bytes();
            out.insert(name, Digest::from_sha256(&tag).hex().to_owned());
        }
        Ok(out)
    }
}

/// The sensitive variables that a value's strings refer to, sorted.
pub(crate) fn names(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.extend(secret::names(text).into_iter().map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => map.values().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// JSON with sorted keys and no spaces, whatever order `serde_json` was built to keep.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let items: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical(value)))
                .collect();
            format!("{{{}}}", items.join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_is_sorted() {
        let value = json!({ "b": [1, { "z": null, "a": "\"⟦" }], "a": true });
        assert_eq!(canonical(&value), r#"{"a":true,"b":[1,{"a":"\"⟦","z":null}]}"#);
    }
}

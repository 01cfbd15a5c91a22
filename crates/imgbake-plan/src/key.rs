//! A step's key, and the named inputs that it is made of.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit, Mac};
use imgbake_template::SecretValue;
use imgbake_types::plan::FileInput;
use imgbake_types::{Digest, secret};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::PlanError;

/// The input that is imgbake itself.
pub(crate) const TOOL: &str = "imgbake";
/// The input that is what the source's name means now.
pub(crate) const PIN: &str = "source as it is now";
/// What the name of a host file's bytes begins with.
pub(crate) const FILE: &str = "file ";
/// What the name of a host file's permissions begins with.
pub(crate) const MODE: &str = "mode of file ";
/// What the name of an input begins with that somebody was asked for.
pub(crate) const ASKED: &str = "input ";
/// What the name of a sensitive value begins with.
pub(crate) const SECRET: &str = "sensitive variable ";

/// All that decides one step's result beside the step before it.
pub(crate) struct Inputs {
    /// The step's name.
    pub(crate) step: String,
    /// The host's files that it reads.
    pub(crate) files: Vec<FileInput>,
    named: BTreeMap<String, Digest>,
    secrets: BTreeSet<String>,
}

impl Inputs {
    /// Nothing decides a step's result yet.
    pub(crate) fn new(step: impl Into<String>) -> Self {
        Self {
            step: step.into(),
            files: Vec::new(),
            named: BTreeMap::new(),
            secrets: BTreeSet::new(),
        }
    }

    /// Adds each setting of a table by its dotted path, below `path` if that is not empty. A list is
    /// one setting. Sensitive values are markers in `value`.
    pub(crate) fn settings(&mut self, path: &str, value: &impl Serialize) -> Result<(), PlanError> {
        let value = json_of(&self.step, value)?;
        self.leaves(path, &value);
        Ok(())
    }

    /// Adds a value as one setting, even if it is a table.
    pub(crate) fn setting(&mut self, name: &str, value: &impl Serialize) -> Result<(), PlanError> {
        let value = json_of(&self.step, value)?;
        self.leaf(name, &value);
        Ok(())
    }

    fn leaves(&mut self, path: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(map) => {
                let dot = if path.is_empty() { "" } else { "." };
                for (key, value) in map {
                    self.leaves(&format!("{path}{dot}{key}"), value);
                }
            }
            leaf => self.leaf(path, leaf),
        }
    }

    fn leaf(&mut self, name: &str, value: &Value) {
        self.secrets.extend(names(value));
        self.named.insert(name.to_owned(), Digest::sha256(canonical(value)));
    }

    /// Adds a file's bytes; `shown` is its path as the template has it.
    pub(crate) fn file(&mut self, shown: &str, file: FileInput) {
        self.named.insert(format!("{FILE}{shown}"), file.digest.clone());
        self.files.push(file);
    }

    /// Adds the permissions of a file.
    pub(crate) fn mode(&mut self, shown: &str, mode: u32) {
        self.named.insert(format!("{MODE}{shown}"), Digest::sha256(format!("{mode:o}")));
    }

    /// Adds what an input outside of this host's files is now.
    pub(crate) fn asked(&mut self, text: &str, digest: Digest) {
        self.named.insert(format!("{ASKED}{text}"), digest);
    }

    /// Adds what the source is now.
    pub(crate) fn pin(&mut self, pin: &str) {
        self.named.insert(PIN.to_owned(), Digest::sha256(pin));
    }
}

/// What keys are made with, and the last one made: each step's parent is the one before it.
pub(crate) struct Keys<'k> {
    pub(crate) tool: &'k str,
    pub(crate) secret_key: &'k [u8],
    pub(crate) secrets: &'k BTreeMap<String, SecretValue>,
    pub(crate) parent: Option<Digest>,
}

impl Keys<'_> {
    /// The key of the next step and its inputs by name: the key is the SHA-256 of a JSON text of the
    /// inputs' digests and the parent's key, whose objects are sorted by key.
    ///
    /// A sensitive value enters as an HMAC, so that a key shows nothing of it to one who has not this
    /// host's secret.
    pub(crate) fn next(
        &mut self,
        inputs: &Inputs,
    ) -> Result<(Digest, BTreeMap<String, Digest>), PlanError> {
        let mut named = inputs.named.clone();
        named.insert(TOOL.to_owned(), Digest::sha256(self.tool));
        for name in &inputs.secrets {
            let Some(value) = self.secrets.get(name) else { continue };
            let digest = self
                .keyed(name, value)
                .map_err(|reason| PlanError::Key { step: inputs.step.clone(), reason })?;
            named.insert(format!("{SECRET}{name}"), digest);
        }
        let digests: BTreeMap<&String, String> =
            named.iter().map(|(name, digest)| (name, digest.to_string())).collect();
        let key = Digest::sha256(canonical(&json!({
            "version": 2,
            "parent": self.parent.as_ref().map(Digest::to_string),
            "inputs": digests,
        })));
        self.parent = Some(key.clone());
        Ok((key, named))
    }

    /// The variable's name goes in too, so that equal values of two variables do not show.
    fn keyed(&self, name: &str, value: &SecretValue) -> Result<Digest, String> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret_key).map_err(|error| error.to_string())?;
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(value.expose().as_bytes());
        Ok(Digest::from_sha256(&mac.finalize().into_bytes()))
    }
}

/// A value as JSON.
pub(crate) fn json_of(step: &str, value: &impl Serialize) -> Result<Value, PlanError> {
    serde_json::to_value(value)
        .map_err(|error| PlanError::Key { step: step.into(), reason: error.to_string() })
}

/// The sensitive variables that a value's strings refer to, sorted.
pub(crate) fn names(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
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

    #[test]
    fn settings_are_named_by_their_paths() {
        let mut inputs = Inputs::new("s");
        let value = json!({ "a": { "b": 1, "c.d": [{ "e": 2 }] }, "f": null, "g": {}, "h": "" });
        inputs.settings("", &value).expect("JSON");
        inputs.settings("t", &json!({ "a": "⟦secret:x⟧" })).expect("JSON");
        inputs.setting("u", &json!({ "a": 1 })).expect("JSON");
        let names: Vec<&str> = inputs.named.keys().map(String::as_str).collect();
        assert_eq!(names, ["a.b", "a.c.d", "h", "t.a", "u"]);
        assert_eq!(inputs.secrets, BTreeSet::from(["x".to_owned()]));
    }
}

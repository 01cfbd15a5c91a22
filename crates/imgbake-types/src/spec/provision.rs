//! `[[provision]]`: what changes the machine.

use camino::Utf8Path;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Converge;

/// `[[provision]]`: `type` names its kind.
///
/// It holds what every step has, and the settings of its kind as values: each kind of provisioner brings
/// its own table (see [`ProvisionerKind`](super::ProvisionerKind)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "`[[provision]]`: `type` names its kind.")]
pub struct ProvisionSpec {
    /// The kind of provisioner that runs it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The step's name. Default: `KIND-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `false`: the step always runs, and so does all that follows it. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// Text that decides the step's result beside its settings, for example the digest of a package
    /// index: where it differs, the step runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
    /// What decides the step's result outside of the template, each as it is when the build begins:
    /// `file:PATH` (a file or folder of the host), `url:URL` (what an http(s) URL has) or `command:COMMAND`
    /// (what a command for `/bin/sh` prints on the host). Where one differs, the step runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// Whether the step is run once more, on a copy of the machine, where it must change nothing. Default: `once` for
    /// configuration management, else `off`; with `[converge] steps = "all"`, after the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converge: Option<Converge>,
    /// The seed of `converge = "shuffle"`: the same seed gives the same order. Default: random, and reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converge_seed: Option<u32>,
    /// Resources that the second run may change, by name or as `TYPE[NAME]`; `*` stands for anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub converge_allow: Vec<String>,
    /// The kind's own settings, by the names of its template table. Only its provisioner reads them.
    #[serde(flatten)]
    #[schemars(skip)]
    pub settings: Map<String, Value>,
}

impl ProvisionSpec {
    /// A step of a kind with these settings, and nothing else said.
    ///
    /// # Errors
    /// The settings are no table.
    pub fn of(kind: &str, settings: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self {
            kind: kind.to_owned(),
            name: None,
            cache: None,
            cache_key: None,
            inputs: Vec::new(),
            converge: None,
            converge_seed: None,
            converge_allow: Vec::new(),
            settings: serde_json::from_value(serde_json::to_value(settings)?)?,
        })
    }

    /// Whether its result may be used again.
    pub fn cache(&self) -> bool {
        self.cache.unwrap_or(true)
    }

    /// The settings as the type of its kind.
    ///
    /// # Errors
    /// They are not as that type wants them.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.settings.clone()))
    }

    /// The path that stands in the settings at a JSON Pointer such as `/script`.
    pub fn path(&self, pointer: &str) -> Option<&Utf8Path> {
        let (key, rest) = first_key(pointer)?;
        self.settings.get(&key)?.pointer(rest)?.as_str().map(Utf8Path::new)
    }

    /// Puts another value into the settings where there is one.
    pub fn replace(&mut self, pointer: &str, value: Value) {
        let place = first_key(pointer)
            .and_then(|(key, rest)| self.settings.get_mut(&key)?.pointer_mut(rest));
        if let Some(place) = place {
            *place = value;
        }
    }
}

/// The first key of a JSON Pointer, and the pointer from there on.
fn first_key(pointer: &str) -> Option<(String, &str)> {
    let path = pointer.strip_prefix('/')?;
    let (key, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    Some((super::pointer::unescape(key), rest))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_of_any_kind_is_read_as_it_was_stored() {
        for stored in [
            // As imgbake 0.1.0 wrote it.
            json!({"type": "shell", "name": "shell-1", "script": "/t/a.sh", "env": {"A": "1"}, "reboot": "no"}),
            json!({"type": "file", "name": "f", "destination": "/x", "direction": "upload", "cache": false,
                "cache_key": "1"}),
            json!({"type": "of a later imgbake", "x": {"y": [1, null]}}),
        ] {
            let step: ProvisionSpec = serde_json::from_value(stored.clone()).unwrap();
            assert_eq!(serde_json::to_value(&step).unwrap(), stored, "nothing is lost or added");
        }
    }

    #[test]
    fn settings_are_found_by_pointers() {
        let settings = json!({"script": "a.sh", "files": ["x", "y"], "a/b": {"c": "d"}});
        let mut step = ProvisionSpec::of("shell", &settings).unwrap();
        for (pointer, path) in [
            ("/script", Some("a.sh")),
            ("/files/1", Some("y")),
            ("/a~1b/c", Some("d")),
            ("/files", None),
            ("/files/2", None),
            ("/none", None),
            ("script", None),
            ("", None),
        ] {
            assert_eq!(step.path(pointer).map(Utf8Path::as_str), path, "{pointer}");
        }
        step.replace("/files/0", "z".into());
        step.replace("/none", "z".into());
        step.replace("/script", Value::Null);
        assert_eq!(step.settings["files"], json!(["z", "y"]));
        assert_eq!((step.settings["script"].clone(), step.settings.len()), (Value::Null, 3));
        assert!(ProvisionSpec::of("shell", &1).is_err());
    }
}

//! `type = "sysctl"`

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_types::spec::ProvisionerSettings;
use imgbake_types::spec::pointer::pointer;
use imgbake_types::spec::rules::{At, Mistake, absolute};
use imgbake_types::{Digest, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::script::Script;
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("sysctl.sh");

/// `type = "sysctl"`: settings of the kernel, now and at each start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SysctlSpec {
    /// The settings: texts and numbers, by names such as `"vm.swappiness"`.
    pub settings: BTreeMap<String, Value>,
    /// The file in the machine that holds these settings and no others. Default:
    /// `/etc/sysctl.d/60-imgbake-STEP.conf`, with the step's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/.*\.conf$"))]
    pub file: Option<String>,
    /// Whether the running kernel is changed as well. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<bool>,
    /// Environment variables of `sysctl`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for SysctlSpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let mut found: Vec<Mistake> = absolute(settings, "file").into_iter().collect();
        let Some(table) = settings.get("settings").and_then(Value::as_object) else { return found };
        if table.is_empty() {
            found.push(Mistake::new("bad-value", At::value("settings"), "`settings` is empty"));
        }
        walk(table, &mut Vec::new(), &mut |path, value| {
            let at = std::iter::once("settings").chain(path.iter().copied());
            let at = pointer(at);
            let name = path.join(".");
            if !is_name(&name) {
                let message = format!("`{name}` cannot be a setting of the kernel");
                let help =
                    "a name has letters, digits and `_ - . /`, such as `net.ipv4.ip_forward`";
                found.push(Mistake::new("bad-value", At::Key(at), message).help(help));
            } else if text(value).is_none() && !value.is_null() {
                let message =
                    format!("the value of `{name}` is neither one line of text nor a whole number");
                found.push(Mistake::new("bad-value", At::Value(at), message));
            }
        });
        found
    }
}

/// A name as sysctl(8) takes it.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
}

/// A value as sysctl(8) takes it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() && !text.contains(char::is_control) => {
            Some(text.trim().to_owned())
        }
        // What stands between words is often a tab.
        Value::String(text) if !text.trim().is_empty() && !text.contains(['\n', '\r', '\0']) => {
            Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
        }
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// Each value with its keys: a name that is written without quotes is a table in a table.
fn walk<'v>(
    table: &'v Map<String, Value>,
    path: &mut Vec<&'v str>,
    each: &mut dyn FnMut(&[&'v str], &'v Value),
) {
    for (key, value) in table {
        path.push(key);
        match value {
            Value::Object(inner) => walk(inner, path, each),
            value => each(path, value),
        }
        path.pop();
    }
}

impl SysctlSpec {
    /// Names and values, in the order of names.
    fn pairs(&self) -> Result<BTreeMap<String, String>, StepError> {
        let table: Map<String, Value> = self.settings.clone().into_iter().collect();
        let (mut pairs, mut wrong) = (BTreeMap::new(), None);
        walk(&table, &mut Vec::new(), &mut |path, value| {
            let name = path.join(".");
            match text(value).filter(|_| is_name(&name)) {
                Some(value) => drop(pairs.insert(name, value)),
                None => wrong = Some(name),
            }
        });
        match wrong {
            Some(name) => Err(StepError::Usage(format!(
                "`settings`: `{name}` or its value cannot be one of the kernel"
            ))),
            None => Ok(pairs),
        }
    }
}

#[async_trait]
impl NativeStep for SysctlSpec {
    const NAME: &'static str = "sysctl";
    const ABOUT: &'static str = "Sets settings of the kernel, now and at each start.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    async fn script(&self, folder: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[FUNCTIONS]);
        let pairs = self.pairs()?;
        // Before the file: a setting that the kernel refuses comes into none.
        if self.apply != Some(false) {
            for (name, value) in &pairs {
                script.call("setting", [name, value]);
            }
        }
        let lines: String =
            pairs.iter().flat_map(|(name, value)| [name, " = ", value, "\n"]).collect();
        let file = self.file.clone().unwrap_or_else(|| default_file(folder.step_name()));
        script.call("file", [file, lines]);
        Ok(script)
    }
}

/// The file of a step that names none: no other step's.
fn default_file(step: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = step.chars().take(100).map(plain).collect();
    // Two names may become one.
    let mark =
        if name == step { String::new() } else { format!("-{}", Digest::sha256(step).short()) };
    format!("/etc/sysctl.d/60-imgbake-{name}{mark}.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_file_of_its_own() {
        assert_eq!(default_file("kernel_1"), "/etc/sysctl.d/60-imgbake-kernel_1.conf");
        let names = ["web-kernel", "web kernel", "web/kernel", "../web", "Wëb"];
        let files: std::collections::BTreeSet<String> = names.map(default_file).into();
        assert_eq!(files.len(), names.len());
        for file in files {
            assert_eq!(file.matches('/').count(), 3, "{file}");
        }
    }
}

//! `type = "locale"`

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_types::Span;
use imgbake_types::spec::ProvisionerSettings;
use imgbake_types::spec::rules::Mistake;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rules::some_of;
use super::script::Script;
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("locale.sh");

/// `type = "locale"`: the machine's language, time zone and keyboard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocaleSpec {
    /// The language of the system, such as `de_DE.UTF-8`; it is made where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.@-]+$"))]
    pub locale: Option<String>,
    /// Further locales that programs can use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9_.@-]+$")))]
    pub locales: Vec<String>,
    /// The time zone, such as `Europe/Berlin` or `Etc/UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"))]
    pub timezone: Option<String>,
    /// The keyboard's layout, such as `de`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_.,-]+$"))]
    pub keymap: Option<String>,
    /// Environment variables of the tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for LocaleSpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        some_of(settings, &["locales"], &["locale", "timezone", "keymap"])
    }
}

#[async_trait]
impl NativeStep for LocaleSpec {
    const NAME: &'static str = "locale";
    const ABOUT: &'static str = "Sets the machine's language, time zone and keyboard.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    async fn script(&self, _: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[FUNCTIONS]);
        let language = self.locale.iter().filter(|one| !self.locales.contains(one));
        for locale in language.chain(&self.locales) {
            script.call("generated", [locale]);
        }
        for (function, value) in
            [("language", &self.locale), ("timezone", &self.timezone), ("keymap", &self.keymap)]
        {
            if let Some(value) = value {
                script.call(function, [value]);
            }
        }
        Ok(script)
    }
}

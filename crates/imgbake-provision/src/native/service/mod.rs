//! `type = "service"`

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_types::Span;
use imgbake_types::spec::ProvisionerSettings;
use imgbake_types::spec::rules::Mistake;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rules::{once, some_of};
use super::script::Script;
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("service.sh");

/// `type = "service"`: which units start with the machine, and which run now; with systemd or OpenRC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Units that are not masked any more (systemd).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9@:_.\\-]+$")))]
    pub unmask: Vec<String>,
    /// Units that start with the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9@:_.\\-]+$")))]
    pub enable: Vec<String>,
    /// Units that do not start with the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9@:_.\\-]+$")))]
    pub disable: Vec<String>,
    /// Units that nothing can start; they need not be there yet (systemd).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9@:_.\\-]+$")))]
    pub mask: Vec<String>,
    /// Units that run from now on, in the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9@:_.\\-]+$")))]
    pub start: Vec<String>,
    /// Units that do not run any more, in the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9@:_.\\-]+$")))]
    pub stop: Vec<String>,
    /// Environment variables of the service manager's tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for ServiceSpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let lists = ["unmask", "enable", "disable", "mask", "start", "stop"];
        let mut found = some_of(settings, &lists, &[]);
        for exclude in [
            &["enable", "disable"][..],
            &["enable", "mask"],
            &["unmask", "mask"],
            &["start", "stop"],
            &["start", "mask"],
        ] {
            let twice = once(settings, exclude, |text| text.trim_end_matches(".service"));
            found.extend(twice.into_iter().filter(|one| !found.contains(one)).collect::<Vec<_>>());
        }
        found
    }
}

#[async_trait]
impl NativeStep for ServiceSpec {
    const NAME: &'static str = "service";
    const ABOUT: &'static str = "Enables, disables, masks, starts and stops services.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    async fn script(&self, _: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[FUNCTIONS]);
        script.call("find_init", [""; 0]);
        for (function, how, units) in [
            ("running", "stop", &self.stop),
            ("units", "unmask", &self.unmask),
            ("units", "enable", &self.enable),
            ("units", "disable", &self.disable),
            ("units", "mask", &self.mask),
            ("running", "start", &self.start),
        ] {
            if !units.is_empty() {
                script.call(function, std::iter::once(how).chain(units.iter().map(String::as_str)));
            }
        }
        Ok(script)
    }
}

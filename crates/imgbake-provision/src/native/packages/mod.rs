//! `type = "packages"`

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_types::Span;
use imgbake_types::spec::ProvisionerSettings;
use imgbake_types::spec::rules::Mistake;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rules::{once, some_of};
use super::script::{REFRESH, Script};
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("packages.sh");

/// `type = "packages"`: packages of the distribution, with apt or apk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackagesSpec {
    /// Packages that shall be there: `NAME`, `NAME=VERSION` (with apt, `*` in it stands for anything) or, with apt,
    /// `NAME/RELEASE`; with apk, `NAME@TAG`. All are installed at once. Of a package that is there, only its version
    /// is looked at, and that it was installed by name: it stays when nothing else needs it any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^[A-Za-z0-9][A-Za-z0-9+._:-]*([=/@][A-Za-z0-9+.~:*_/-]+)?$"
    )))]
    pub install: Vec<String>,
    /// Packages that shall not be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9+._:-]*$")))]
    pub remove: Vec<String>,
    /// Whether what is removed leaves no configuration either. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge: Option<bool>,
    /// Packages that no upgrade may change (apt).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9+._:-]*$")))]
    pub hold: Vec<String>,
    /// Packages that are not held any more (apt).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9+._:-]*$")))]
    pub unhold: Vec<String>,
    /// Whether all that is there is brought to its newest version first. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<bool>,
    /// Whether the package lists are refreshed. Default: where something is to be installed and no step of the last
    /// hour has refreshed them, and before an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
    /// Whether apt installs what a package only recommends. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommends: Option<bool>,
    /// The release that apt installs from, such as `bookworm-backports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9.=_/,-]*$"))]
    pub from: Option<String>,
    /// Environment variables of the package manager.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for PackagesSpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let mut found =
            some_of(settings, &["install", "remove", "hold", "unhold"], &["upgrade", "update"]);
        found.extend(once(settings, &["install", "remove"], |text| Wanted::of(text).name));
        found.extend(once(settings, &["hold", "unhold"], |text| text));
        found
    }
}

/// What of a package is wanted.
struct Wanted<'a> {
    /// Its name.
    name: &'a str,
    /// Its version, as a pattern of a shell.
    version: &'a str,
}

impl<'a> Wanted<'a> {
    fn of(text: &'a str) -> Self {
        let name = text.split(['=', '/', '@']).next().unwrap_or(text);
        let version = text.split_once('=').map_or("*", |(_, version)| version);
        Self { name, version }
    }
}

/// Calls a function for packages, where there are some.
fn call_all(script: &mut Script, function: &str, how: &str, names: &[String]) {
    if !names.is_empty() {
        script.call(function, std::iter::once(how).chain(names.iter().map(String::as_str)));
    }
}

#[async_trait]
impl NativeStep for PackagesSpec {
    const NAME: &'static str = "packages";
    const ABOUT: &'static str = "Installs, removes, upgrades and holds packages, with apt or apk.";
    const TIMEOUT: Span = Span::secs(3600);

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    async fn script(&self, _: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[REFRESH, FUNCTIONS]);
        let update = self.update.map_or("auto", |update| if update { "true" } else { "false" });
        script.set("update", update);
        script.set("from", self.from.as_deref().unwrap_or_default());
        let recommends = self.recommends == Some(true);
        script.set("options", if recommends { "" } else { "--no-install-recommends" });
        script.call("prepare", [""; 0]);
        call_all(&mut script, "hold", "unhold", &self.unhold);
        if self.upgrade == Some(true) {
            script.call("upgrade", [""; 0]);
        }
        let wanted = || self.install.iter().map(|text| (Wanted::of(text), text));
        for (Wanted { name, version }, text) in wanted() {
            script.call("want", [name, version, text]);
        }
        script.call("install_wanted", [""; 0]);
        for (Wanted { name, version }, text) in wanted() {
            script.call("got", [name, version, text]);
        }
        let how = if self.purge == Some(true) { "purge" } else { "remove" };
        call_all(&mut script, "take_out", how, &self.remove);
        call_all(&mut script, "hold", "hold", &self.hold);
        script.call("others", [""; 0]);
        Ok(script)
    }
}

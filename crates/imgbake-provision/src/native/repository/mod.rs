//! `type = "repository"`

mod key;

use std::collections::BTreeMap;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::{At, Mistake, not_empty};
use imgbake_types::spec::{HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::key::Key;
use super::rules::at_most_one;
use super::script::{REFRESH, Script};
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("repository.sh");
/// What the name of a file has that only the build needs, for what can hold no mark: a key.
const BUILD_ONLY: &str = ".imgbake-build-only";
/// The mark of a file that only the build needs: seal removes it.
const MARK: &str = "# imgbake: build-only\n";

/// `type = "repository"`: a package repository, of apt or apk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositorySpec {
    /// What it is called: the name of its files in the machine.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"))]
    pub repository: String,
    /// Where it is. For apk: its lines in `/etc/apk/repositories`.
    #[schemars(length(min = 1), inner(regex(pattern = r"^[^\s]+$")))]
    pub uris: Vec<String>,
    /// Its suites, such as `bookworm`; one that ends with `/` is a folder, and takes no components. Not for apk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^\s]+$")))]
    pub suites: Vec<String>,
    /// Its components, such as `main`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^\s]+$")))]
    pub components: Vec<String>,
    /// The architectures that apt asks it for. Default: the machine's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[a-z0-9-]+$")))]
    pub architectures: Vec<String>,
    /// `deb`, `deb-src`. Default: `["deb"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^deb(-src)?$")))]
    pub types: Vec<String>,
    /// The public key that signs it: a file beside the template, as text or binary. For apk: an RSA key, whose file's
    /// name apk looks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<Utf8PathBuf>,
    /// The public key itself, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_text: Option<String>,
    /// A key that the machine has: its file's path there, or its fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(/\S+|[0-9A-Fa-f]{40})$"))]
    pub signed_by: Option<String>,
    /// Whether only the build needs it: seal removes it. Default: false. Not for apk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_only: Option<bool>,
    /// Whether the package lists are refreshed where it changed. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
    /// Environment variables of the package manager.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for RepositorySpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let lists = ["uris", "suites", "components", "architectures", "types"];
        let mut found: Vec<Mistake> =
            lists.iter().filter_map(|key| not_empty(settings, key)).collect();
        found.extend(at_most_one(settings, &["key", "key_text", "signed_by"]));
        if settings.contains_key("suites") {
            found.extend(components(settings));
            return found;
        }
        let keys = ["components", "architectures", "types", "key_text", "signed_by", "build_only"];
        for key in keys.into_iter().filter(|key| settings.contains_key(*key)) {
            let message =
                format!("`{key}` belongs to a repository of apt, and that needs `suites`");
            let help = format!("give `suites` as well; for a repository of apk remove `{key}`");
            found.push(Mistake::new("needs-suites", At::key(key), message).help(help));
        }
        found
    }

    fn host_paths(&self) -> Vec<HostPath> {
        self.key.iter().map(|_| HostPath::read("/key")).collect()
    }
}

/// Suites need components, and folders have none.
fn components(settings: &Map<String, Value>) -> Option<Mistake> {
    let suites = settings.get("suites")?.as_array()?;
    let folders = suites.iter().filter_map(Value::as_str).filter(|suite| suite.ends_with('/'));
    let given = settings.contains_key("components");
    match (folders.count(), given) {
        (0, false) => {
            let mistake = Mistake::new("missing-key", At::Step, "`suites` need `components`");
            Some(
                mistake
                    .help("such as `components = [\"main\"]`; a suite without them ends with `/`"),
            )
        }
        (0, true) => None,
        (_, true) => {
            let message = "a suite that ends with `/` has no components";
            Some(Mistake::new("bad-value", At::key("components"), message))
        }
        (folders, false) if folders < suites.len() => {
            let message = "suites and folders (that end with `/`) cannot be mixed";
            Some(Mistake::new("bad-value", At::value("suites"), message).help("make two steps"))
        }
        (_, false) => None,
    }
}

impl RepositorySpec {
    /// Its description for apt (`sources.list(5)`, "DEB822-STYLE FORMAT"), without the key that comes with the step.
    fn description(&self) -> String {
        let types = if self.types.is_empty() { "deb".to_owned() } else { self.types.join(" ") };
        let fields = [
            ("Types", types),
            ("URIs", self.uris.join(" ")),
            ("Suites", self.suites.join(" ")),
            ("Components", self.components.join(" ")),
            ("Architectures", self.architectures.join(" ")),
            ("Signed-By", self.signed_by.clone().unwrap_or_default()),
        ];
        let given = fields.iter().filter(|(_, value)| !value.is_empty());
        let mark = if self.build_only == Some(true) { MARK } else { "" };
        given.fold(mark.to_owned(), |text, (name, value)| format!("{text}{name}: {value}\n"))
    }

    fn key(&self) -> Result<Option<Key>, StepError> {
        Key::read(self.key.as_deref(), self.key_text.as_deref(), !self.suites.is_empty())
    }
}

#[async_trait]
impl NativeStep for RepositorySpec {
    const NAME: &'static str = "repository";
    const ABOUT: &'static str = "Adds a package repository of apt or apk, with its key.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    fn check_files(&self) -> Result<(), StepError> {
        self.key().map(drop)
    }

    async fn script(&self, folder: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[REFRESH, FUNCTIONS]);
        let update = if self.update == Some(false) { "false" } else { "true" };
        let (mut staged, mut ending) = (String::new(), "");
        let key = self.key()?;
        if let Some(key) = &key {
            staged = folder.path("key");
            ending = &key.ending;
            match &self.key {
                Some(path) => folder.copy(path, "key").await?,
                None => folder.write("key", self.key_text.as_deref().unwrap_or_default()).await?,
            }
        }
        if self.suites.is_empty() {
            let lines = self.uris.join("\n") + "\n";
            script.call("apk_repository", [&self.repository, &lines, &staged, ending, update]);
        } else {
            let mark = if self.build_only == Some(true) { BUILD_ONLY } else { "" };
            let name = format!("{}{mark}", self.repository);
            script.call("apt_repository", [&name, &self.description(), &staged, ending, update]);
        }
        Ok(script)
    }
}

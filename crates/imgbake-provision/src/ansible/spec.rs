//! What an ansible step's author wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::{Mistake, not_empty};
use imgbake_types::spec::{Converge, HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::guest::{DryRun, TIMEOUT};

/// What stands beside a playbook and is part of it (Ansible, "Playbook directory layout").
pub(super) const BESIDE: [&str; 17] = [
    "action_plugins",
    "ansible.cfg",
    "collections",
    "files",
    "filter_plugins",
    "group_vars",
    "handlers",
    "host_vars",
    "library",
    "lookup_plugins",
    "module_utils",
    "plugins",
    "roles",
    "tasks",
    "templates",
    "test_plugins",
    "vars",
];

/// Arguments with which Ansible changes nothing.
pub(super) const DRY: DryRun = DryRun {
    long: &["check", "syntax-check", "list-hosts", "list-tags", "list-tasks"],
    short: "C",
    valued: "eftliucTM",
    words: &[],
};

/// `type = "ansible"`: a playbook, run on the host against the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnsibleSpec {
    /// The playbook, beside the template. What Ansible looks for beside it (`roles`, `group_vars`, `files`,
    /// `ansible.cfg`, …) decides the step as well; other files that it includes belong into `inputs`.
    #[schemars(with = "String")]
    pub playbook: Utf8PathBuf,
    /// The inventory's groups that the machine is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Variables of the machine in the inventory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_vars: BTreeMap<String, Value>,
    /// `--extra-vars`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_vars: BTreeMap<String, Value>,
    /// `--tags`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// `--skip-tags`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_tags: Vec<String>,
    /// `--limit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// `--become`. Default: true where `[ssh] user` is not root.
    #[serde(default, rename = "become", skip_serializing_if = "Option::is_none")]
    pub becomes: Option<bool>,
    /// The password of Ansible Vault: a sensitive variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_password: Option<String>,
    /// Roles and collections to install first: a `requirements.yml` for `ansible-galaxy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub requirements: Option<Utf8PathBuf>,
    /// Folders of roles, beside those that Ansible looks in by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub roles_path: Vec<Utf8PathBuf>,
    /// Folders of collections, beside those that Ansible looks in by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub collections_path: Vec<Utf8PathBuf>,
    /// Further arguments of `ansible-playbook`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of Ansible.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for AnsibleSpec {
    const SENSITIVE: &'static [&'static str] =
        &["extra_vars", "host_vars", "vault_password", "env"];
    const RESULTS: bool = true;
    const CONVERGE: Converge = Converge::Once;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        playbook_mistakes(settings)
    }

    fn host_paths(&self) -> Vec<HostPath> {
        playbook_paths(self.requirements.is_some(), &self.roles_path, &self.collections_path)
    }
}

/// The paths of the host in a step with a playbook.
pub(super) fn playbook_paths(
    has_requirements: bool,
    roles: &[Utf8PathBuf],
    collections: &[Utf8PathBuf],
) -> Vec<HostPath> {
    let playbook = HostPath::read_sources("/playbook", &BESIDE);
    let requirements = has_requirements.then(|| HostPath::read("/requirements"));
    let roles = (0..roles.len()).map(|at| format!("/roles_path/{at}"));
    let collections = (0..collections.len()).map(|at| format!("/collections_path/{at}"));
    let folders = roles.chain(collections).map(|at| HostPath::read_sources(&at, &[]));
    std::iter::once(playbook).chain(requirements).chain(folders).collect()
}

/// What no schema can say of a step with a playbook.
pub(super) fn playbook_mistakes(settings: &Map<String, Value>) -> Vec<Mistake> {
    let lists = ["groups", "tags", "skip_tags", "roles_path", "collections_path", "args"];
    let lists = lists.iter().filter_map(|key| not_empty(settings, key));
    lists.chain(DRY.mistakes(settings)).collect()
}

impl AnsibleSpec {
    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

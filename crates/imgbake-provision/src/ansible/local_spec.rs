//! What an ansible-local step's author wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::Mistake;
use imgbake_types::spec::{Converge, HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::guest::{Install, TIMEOUT};

use super::spec::{playbook_mistakes, playbook_paths};

/// `type = "ansible-local"`: a playbook, run in the machine by the machine's own Ansible, which is there, or `install`
/// brings it for the build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnsibleLocalSpec {
    /// The playbook, beside the template. It is copied into the machine with what Ansible looks for beside it
    /// (`roles`, `group_vars`, `files`, `ansible.cfg`, …), and with nothing else of its folder. Its host is
    /// `localhost`: plays for that name, for `all` and for the groups below are run.
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
    /// The password of Ansible Vault: a sensitive variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_password: Option<String>,
    /// Roles and collections that the machine installs first: a `requirements.yml` for `ansible-galaxy`. They are
    /// taken out again after the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub requirements: Option<Utf8PathBuf>,
    /// Folders of roles on the host, beside those that the machine's Ansible looks in by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub roles_path: Vec<Utf8PathBuf>,
    /// Folders of collections on the host, beside those that the machine's Ansible looks in by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub collections_path: Vec<Utf8PathBuf>,
    /// Further arguments of `ansible-playbook`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of Ansible.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether, and how, Ansible is installed in the machine where it is missing; it is taken out again before the seal.
    /// Default: it must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for AnsibleLocalSpec {
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

impl AnsibleLocalSpec {
    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

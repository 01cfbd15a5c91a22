//! What a chef step's author wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::{At, Mistake, exactly_one, not_empty};
use imgbake_types::spec::{Converge, HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::guest::{DryRun, Install, TIMEOUT};

/// Arguments with which Chef changes nothing.
pub(super) const DRY: DryRun =
    DryRun { long: &["why-run"], short: "W", valued: "cEjlLNorPugisSAG", words: &[] };

/// `type = "chef"`: exactly one of `cookbooks` and `policy`, applied in the machine without a server
/// (`chef-client --local-mode`, or `cinc-client`). Chef is in the machine, or `install` brings it for the build. How
/// results are read is written after Chef's documentation of handlers, and tested with a stand-in for Chef.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChefSpec {
    /// Folders of cookbooks, beside the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub cookbooks: Vec<Utf8PathBuf>,
    /// What to run: `["recipe[nginx]", "role[web]"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_list: Vec<String>,
    /// A folder that `chef export` wrote of a Policyfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub policy: Option<Utf8PathBuf>,
    /// The name of that policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_name: Option<String>,
    /// Attributes of the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Value>,
    /// A folder of roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub roles: Option<Utf8PathBuf>,
    /// A folder of data bags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub data_bags: Option<Utf8PathBuf>,
    /// A folder of environments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub environments: Option<Utf8PathBuf>,
    /// The environment of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The client in the machine. Default: `chef-client`, else `cinc-client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chef_bin: Option<String>,
    /// Further arguments of the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of the client.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether, and how, Chef is installed in the machine where it is missing; it is taken out again before the seal.
    /// Default: it must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for ChefSpec {
    const SENSITIVE: &'static [&'static str] = &["attributes", "env"];
    const RESULTS: bool = true;
    const CONVERGE: Converge = Converge::Once;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let mut found: Vec<Mistake> =
            exactly_one(settings, ["cookbooks", "policy"]).into_iter().collect();
        let lists = ["cookbooks", "run_list", "args"];
        found.extend(lists.iter().filter_map(|key| not_empty(settings, key)));
        found.extend(DRY.mistakes(settings));
        for (key, other) in [("cookbooks", "run_list"), ("policy", "policy_name")] {
            match (settings.contains_key(key), settings.contains_key(other)) {
                (true, false) => {
                    let message = format!("`{key}` needs `{other}`");
                    found.push(Mistake::new("missing-key", At::key(key), message));
                }
                (false, true) => {
                    let message = format!("`{other}` has no meaning without `{key}`");
                    found.push(Mistake::new("bad-value", At::key(other), message));
                }
                _ => {}
            }
        }
        found
    }

    fn host_paths(&self) -> Vec<HostPath> {
        let cookbooks = (0..self.cookbooks.len()).map(|at| format!("/cookbooks/{at}"));
        let folders = self.folders().into_iter().map(|(name, _)| format!("/{name}"));
        cookbooks.chain(folders).map(|at| HostPath::read_sources(&at, &[])).collect()
    }
}

impl ChefSpec {
    /// The folders that are given beside the cookbooks, each with its key.
    pub(super) fn folders(&self) -> Vec<(&'static str, &Utf8PathBuf)> {
        [
            ("policy", &self.policy),
            ("roles", &self.roles),
            ("data_bags", &self.data_bags),
            ("environments", &self.environments),
        ]
        .into_iter()
        .filter_map(|(name, path)| Some((name, path.as_ref()?)))
        .collect()
    }

    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

//! What a salt step's author wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::{Mistake, not_empty};
use imgbake_types::spec::{Converge, HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::guest::{DryRun, Install, TIMEOUT};

/// Arguments with which Salt changes nothing.
pub(super) const DRY: DryRun =
    DryRun { long: &[], short: "", valued: "", words: &["test", "mock"] };

/// `type = "salt"`: Salt states, applied in the machine without a master (`salt-call --local`). Salt is
/// in the machine, or `install` brings it for the build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaltSpec {
    /// The folder of states (`file_roots`), beside the template.
    #[schemars(with = "String")]
    pub states: Utf8PathBuf,
    /// The states to apply, by name: `["nginx", "users.admin"]`. Default: what `top.sls` says (the highstate).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
    /// The folder of pillar data with its `top.sls` (`pillar_roots`), beside the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub pillar: Option<Utf8PathBuf>,
    /// Pillar data of this step; it is merged over that of `pillar`. Salt reads it from a private file, as an
    /// `ext_pillar`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pillar_vars: BTreeMap<String, Value>,
    /// Grains of the machine, beside those that Salt finds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grains: BTreeMap<String, Value>,
    /// A minion's configuration file, beside the template; files that its `include` names are the machine's. Where Salt
    /// keeps its own files and where states and pillar are is set by imgbake; `grains` and `pillar_vars` are merged with
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub minion_config: Option<Utf8PathBuf>,
    /// The environment of the states. Default: `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saltenv: Option<String>,
    /// `salt-call` in the machine. Default: the one in `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt_bin: Option<String>,
    /// Further arguments of `salt-call`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of Salt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Whether, and how, Salt is installed in the machine where it is missing; it is taken out again before the seal.
    /// Default: it must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for SaltSpec {
    const SENSITIVE: &'static [&'static str] = &["pillar_vars", "grains", "env"];
    const RESULTS: bool = true;
    const CONVERGE: Converge = Converge::Once;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let lists = ["state", "args"].iter().filter_map(|key| not_empty(settings, key));
        lists.chain(DRY.mistakes(settings)).collect()
    }

    fn host_paths(&self) -> Vec<HostPath> {
        let pillar = self.pillar.iter().map(|_| HostPath::read_sources("/pillar", &[]));
        let config = self.minion_config.iter().map(|_| HostPath::read("/minion_config"));
        let states = HostPath::read_sources("/states", &[]);
        std::iter::once(states).chain(pillar).chain(config).collect()
    }
}

impl SaltSpec {
    /// The environment of the states.
    pub fn saltenv(&self) -> &str {
        self.saltenv.as_deref().unwrap_or("base")
    }

    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

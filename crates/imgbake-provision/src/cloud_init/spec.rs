//! What a cloud-init step's author wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::{At, Mistake, exactly_one};
use imgbake_types::spec::{HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::user_data;
use crate::guest::{Install, TIMEOUT};

/// `type = "cloud-init"`: user-data that the machine's cloud-init applies now, as it would at a first boot. Exactly one of
/// `user_data` and `content`. The image's own first boot runs all of cloud-init again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudInitSpec {
    /// A file with the user-data, beside the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub user_data: Option<Utf8PathBuf>,
    /// The user-data itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Meta-data of the instance that cloud-init takes the machine for, such as `local-hostname`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta_data: BTreeMap<String, Value>,
    /// Whether cloud-init is installed for the step where it is missing: `true`, or what to install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install: Option<Install>,
    /// Environment variables of cloud-init and what it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for CloudInitSpec {
    const SENSITIVE: &'static [&'static str] = &["content", "meta_data", "env"];

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let mut found: Vec<Mistake> =
            exactly_one(settings, ["user_data", "content"]).into_iter().collect();
        if let Some(Err(message)) =
            settings.get("content").and_then(Value::as_str).map(user_data::kind)
        {
            found.push(
                Mistake::new("bad-value", At::value("content"), message).help(user_data::KINDS),
            );
        }
        found
    }

    fn host_paths(&self) -> Vec<HostPath> {
        self.user_data.iter().map(|_| HostPath::read("/user_data")).collect()
    }
}

impl CloudInitSpec {
    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }
}

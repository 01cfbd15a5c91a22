//! What a shell step's author wrote.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use imgbake_types::Span;
use imgbake_types::spec::rules::Mistake;
use imgbake_types::spec::{HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rules;
use crate::guest::TIMEOUT;

/// `type = "shell"`: exactly one of `script` and `inline`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellSpec {
    /// A script on the host, beside the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub script: Option<Utf8PathBuf>,
    /// Lines of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Vec<String>>,
    /// What runs the script. Default: the script's own `#!` line, else `/bin/sh -e`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<Vec<String>>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Who runs it. Default: `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The folder it starts in. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// How long one try may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What happens after a failed try. Default: the build fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// Exit codes that mean success. Default: `[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_codes: Option<Vec<i32>>,
    /// Whether the step restarts the machine. Default: `no`.
    #[serde(default)]
    pub reboot: Reboot,
}

impl ProvisionerSettings for ShellSpec {
    const SENSITIVE: &'static [&'static str] = &["env", "inline"];

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        rules::check(settings)
    }

    fn host_paths(&self) -> Vec<HostPath> {
        self.script.iter().map(|_| HostPath::read("/script")).collect()
    }

    fn expects_restart(&self) -> bool {
        self.reboot == Reboot::Expected
    }
}

impl ShellSpec {
    /// Who runs it.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }
    /// The folder it starts in.
    pub fn workdir(&self) -> &str {
        self.workdir.as_deref().unwrap_or("/")
    }
    /// How long one try may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(TIMEOUT)
    }
    /// Exit codes that mean success.
    pub fn exit_codes(&self) -> &[i32] {
        self.exit_codes.as_deref().unwrap_or(&[0])
    }
}

/// `retry = { attempts = 3, backoff = "1s" }`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// Tries in all.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// The wait before the second try; it doubles with each further one, up to a minute. Default:
    /// `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
}

/// Whether a step restarts the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reboot {
    /// A restart fails the build.
    #[default]
    No,
    /// The step ends with a restart; the next step runs after it. A step that ends without one fails.
    Expected,
}

//! `[verify]` and `[[test]]`: how the published image is proved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;
use crate::firmware::Firmware;

/// `[verify]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifySpec {
    /// `false` publishes an unverified version, which no channel may point at. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Clones to boot: with 2, their identities are compared and one is restarted. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2))]
    pub clones: Option<u32>,
    /// The firmware of each clone, in order; a shorter list is repeated. Default: the builder's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Firmware>,
    /// Units that may have failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_failed_units: Vec<String>,
    /// What the last clone boots with. Default: `nocloud`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
    /// What is on the clones' extra disks. Default: `empty`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_disks: Option<ExtraDisks>,
}

/// What a clone learns from where it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Datasource {
    /// cloud-init has a NoCloud seed, as on a cloud.
    #[default]
    Nocloud,
    /// cloud-init has nothing, as on a machine without a cloud: no boot may wait for it. Root's key comes as a
    /// systemd credential, which needs systemd 252 or newer, an ext4 root, and an sshd that lets root in.
    None,
}

/// What is on a clone's extra disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExtraDisks {
    /// Nothing.
    #[default]
    Empty,
    /// What the build wrote. No version holds that: `imgbake test` has empty ones.
    Built,
}

impl VerifySpec {
    /// Whether clones are booted at all.
    pub fn enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }
    /// Clones to boot.
    pub fn clones(&self) -> u32 {
        self.clones.unwrap_or(1)
    }
}

/// `[[test]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestSpec {
    /// The test's name. Default: `test-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A command for `/bin/sh`; the test passes if it exits with 0.
    pub run: String,
    /// Who runs it. Default: `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long it may take. Default: `2m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl TestSpec {
    /// Who runs it.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }
    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(Span::secs(120))
    }
}

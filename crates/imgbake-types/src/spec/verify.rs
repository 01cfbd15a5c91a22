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

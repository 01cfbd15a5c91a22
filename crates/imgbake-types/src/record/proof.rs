//! How a version is proved: what `imgbake test` needs to do it again. Its keys are those of the
//! template's tables; what a newer imgbake added is ignored, and kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::firmware::Firmware;
use crate::spec::{Datasource, ExtraDisks, TestSpec, VerifySpec};
use crate::{MachineSpec, Span};

/// How a version is proved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The machine that clones are booted in.
    pub machine: MachineSpec,
    /// Clones and their checks.
    pub verify: VerifySettings,
    /// The template's tests. Sensitive values are markers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestRecord>,
}

/// How the clones of a version are booted and checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifySettings {
    /// Whether clones are booted at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Clones to boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clones: Option<u32>,
    /// The firmware of each clone, in order; a shorter list is repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firmware: Vec<Firmware>,
    /// Units that may have failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_failed_units: Vec<String>,
    /// What the last clone boots with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
    /// What is on the clones' extra disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_disks: Option<ExtraDisks>,
    /// What this imgbake does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A test of the template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestRecord {
    /// The test's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A command for `/bin/sh`.
    pub run: String,
    /// Who runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What this imgbake does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl VerifySettings {
    /// Whether clones are booted at all.
    pub fn enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// Clones to boot.
    pub fn clones(&self) -> u32 {
        self.clones.unwrap_or(1)
    }

    /// What the clone of an index boots with, which counts from 0.
    pub fn datasource(&self, index: usize) -> Datasource {
        let is_last = index + 1 == self.clones() as usize;
        self.datasource.filter(|_| is_last).unwrap_or_default()
    }

    /// What is on the clones' extra disks.
    pub fn extra_disks(&self) -> ExtraDisks {
        self.extra_disks.unwrap_or_default()
    }
}

impl TestRecord {
    /// Who runs it.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }

    /// How long it may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(Span::secs(120))
    }
}

impl From<VerifySpec> for VerifySettings {
    fn from(spec: VerifySpec) -> Self {
        let VerifySpec { enabled, clones, firmware, allow_failed_units, datasource, extra_disks } =
            spec;
        Self {
            enabled,
            clones,
            firmware,
            allow_failed_units,
            datasource,
            extra_disks,
            rest: Map::new(),
        }
    }
}

impl From<VerifySettings> for VerifySpec {
    fn from(settings: VerifySettings) -> Self {
        let VerifySettings {
            enabled,
            clones,
            firmware,
            allow_failed_units,
            datasource,
            extra_disks,
            rest: _,
        } = settings;
        Self { enabled, clones, firmware, allow_failed_units, datasource, extra_disks }
    }
}

impl From<TestSpec> for TestRecord {
    fn from(spec: TestSpec) -> Self {
        let TestSpec { name, run, user, timeout } = spec;
        Self { name, run, user, timeout, rest: Map::new() }
    }
}

impl From<TestRecord> for TestSpec {
    fn from(record: TestRecord) -> Self {
        let TestRecord { name, run, user, timeout, rest: _ } = record;
        Self { name, run, user, timeout }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keys_are_kept_and_no_obstacle() {
        let stored = json!({
            "machine": { "cpus": 4, "accel": "tcg", "boot": "auto" },
            "verify": { "clones": 2, "screens": 1 },
            "tests": [{ "run": "true", "retries": 3 }]
        });
        let proof: Proof = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(VerifySpec::from(proof.verify.clone()).clones(), 2);
        assert_eq!(TestSpec::from(proof.tests[0].clone()).run, "true");
        assert_eq!(serde_json::to_value(&proof).unwrap(), stored);
    }
}

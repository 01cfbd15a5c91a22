//! What verifying a version showed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Document;
use crate::Digest;

/// Whether a version was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyStatus {
    /// Not yet, or it was turned off.
    Unverified,
    /// Every check and test passed.
    Passed,
    /// One did not.
    Failed,
}

/// What verifying a version showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyRecord {
    /// The version's digest: that of its index.
    pub subject: Digest,
    /// When it ended.
    pub time: Timestamp,
    /// Passed or failed.
    pub status: VerifyStatus,
    /// Each check and test.
    pub tests: Vec<TestOutcome>,
    /// Wall time.
    pub seconds: f64,
    /// SHA-256 of the whole disk, as it was restored for the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_sha256: Option<Digest>,
}

impl Document for VerifyRecord {}

/// One check's or test's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestOutcome {
    /// Its name.
    pub name: String,
    /// Which clone: `verify-1`.
    pub machine: String,
    /// Whether it passed.
    pub passed: bool,
    /// Wall time.
    pub seconds: f64,
    /// Why it failed, or what it saw; redacted and cut to a few lines.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

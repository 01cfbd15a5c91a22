//! A version's config: what never changes of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::step::{StepReport, if_known};
use super::{DiskRecord, Document, Proof, SealRecord};
use crate::firmware::Firmware;
use crate::{Arch, Digest, Reference, Stage, VersionName};

/// The part of a version that never changes; its config blob holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The image's name.
    pub name: String,
    /// The version's name.
    pub version: VersionName,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was captured.
    pub created: Timestamp,
    /// The architecture.
    pub arch: Arch,
    /// The firmware its builder used.
    pub firmware: Firmware,
    /// The disk.
    pub disk: DiskRecord,
    /// What it was built on: a version's digest or a base disk's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The plan that made it.
    pub plan: PlanRecord,
    /// How it is proved: what `imgbake test` needs to do it again.
    pub proof: Proof,
    /// What each stage up to capture took.
    pub stages: Vec<StageRecord>,
    /// The author's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Which imgbake built it.
    pub imgbake: String,
    /// Where its template came from; no key depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Document for ImageConfig {}

/// Where a version's template came from, and who built it: for people who look for its cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The git commit that was checked out where the template is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Its branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The CI job's page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci_job: Option<String>,
}

/// What a version was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The version, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// The disk as a builder knows it, `KIND:ID`, where it is native to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// The version's digest, the bootstrap's key, the downloaded file's digest, or that of `native`.
    pub digest: Digest,
    /// `image`, `bootstrap`, `url` or `native`.
    pub kind: String,
}

/// Which plan made a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The plan's digest.
    pub digest: Digest,
}

/// What a stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Which.
    pub stage: Stage,
    /// Its name: a provision step's or the stage's word.
    pub name: String,
    /// Wall time.
    pub seconds: f64,
    /// Bytes that it made or moved.
    pub bytes: u64,
    /// Whether its result came from a cache.
    pub cached: bool,
    /// The layer that its result came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerRef>,
    /// What a provision step did when it ran, as far as others may see it.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    pub report: Option<StepReport>,
    /// What sealing removed.
    #[serde(default, deserialize_with = "if_known", skip_serializing_if = "Option::is_none")]
    pub seal: Option<SealRecord>,
}

impl StageRecord {
    /// A stage that ran, by its name and what it took.
    pub const fn ran(stage: Stage, name: String, seconds: f64, bytes: u64) -> Self {
        Self { stage, name, seconds, bytes, cached: false, layer: None, report: None, seal: None }
    }
}

/// A layer that a version was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    /// Its step's key.
    pub key: Digest,
    /// When it was made.
    pub created: Timestamp,
}

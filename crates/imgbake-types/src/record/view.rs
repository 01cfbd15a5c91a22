//! A version as the registry knows it now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    DiskRecord, ImageConfig, Origin, Parent, PlanRecord, Problem, Proof, StageRecord, TestOutcome,
    VerifyRecord, VerifyStatus,
};
use crate::firmware::Firmware;
use crate::{Arch, Digest, Stage, VersionName};

/// A version as the registry knows it now: its config, and what was said of it since.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionView {
    /// The image's name.
    pub name: String,
    /// The version's name.
    pub version: VersionName,
    /// Its index's digest.
    pub digest: Digest,
    /// The channels that point at it.
    pub channels: Vec<String>,
    /// Why it is held, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// When it was captured.
    pub created: Timestamp,
    /// The disk.
    pub disk: DiskRecord,
    /// Whether it was proved.
    pub verify: VerifyView,
    /// What it was built on.
    pub parent: Option<Parent>,
    /// The plan that made it.
    pub plan: PlanRecord,
    /// What each stage took, verify included.
    pub stages: Vec<StageRecord>,
    /// The architecture.
    pub arch: Arch,
    /// The firmware its builder used.
    pub firmware: Firmware,
    /// One line for people.
    pub description: Option<String>,
    /// The author's labels.
    pub labels: BTreeMap<String, String>,
    /// How it is proved.
    pub proof: Proof,
    /// Which imgbake built it.
    pub imgbake: String,
    /// Where its template came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl VersionView {
    /// Joins a version's parts.
    pub fn new(
        config: ImageConfig,
        digest: Digest,
        channels: Vec<String>,
        verify: Option<VerifyRecord>,
    ) -> Self {
        let (mut stages, mut disk) = (config.stages, config.disk);
        if let Some(record) = &verify {
            disk.sha256 = disk.sha256.or_else(|| record.disk_sha256.clone());
            let name = Stage::Verify.name().to_owned();
            stages.push(StageRecord::ran(Stage::Verify, name, record.seconds, 0));
        }
        let verify = verify.map_or(
            VerifyView {
                status: VerifyStatus::Unverified,
                time: None,
                tests: Vec::new(),
                unreadable: Vec::new(),
            },
            |record| VerifyView {
                status: record.status,
                time: Some(record.time),
                tests: record.tests,
                unreadable: Vec::new(),
            },
        );
        Self {
            name: config.name,
            version: config.version,
            digest,
            channels,
            hold: None,
            created: config.created,
            disk,
            verify,
            parent: config.parent,
            plan: config.plan,
            stages,
            arch: config.arch,
            firmware: config.firmware,
            description: config.description,
            labels: config.labels,
            proof: config.proof,
            imgbake: config.imgbake,
            origin: config.origin,
        }
    }
}

/// A version's newest verify record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyView {
    /// Passed, failed or neither.
    pub status: VerifyStatus,
    /// When.
    pub time: Option<Timestamp>,
    /// Each check and test.
    pub tests: Vec<TestOutcome>,
    /// Verify records that cannot be read: a newer one may say something else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableEvidence>,
}

/// Evidence that this imgbake cannot read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnreadableEvidence {
    /// Its digest.
    pub digest: Digest,
    /// Why it cannot be read.
    pub problem: Problem,
}

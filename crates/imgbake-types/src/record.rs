//! What is written down of a version: its config, its verify record, its channel moves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{Firmware, QemuSpec, TestSpec, VerifySpec};
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
}

/// A disk's digests and sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRecord {
    /// SHA-256 of the whole virtual disk, holes as zeros. A version that was published by what it
    /// changed has none in its config: the first who restores all of it learns it.
    #[serde(default)]
    pub sha256: Option<Digest>,
    /// SHA-256 of its chunk table: the disk's identity.
    pub table: Digest,
    /// Its size in bytes.
    pub virtual_size: u64,
    /// Bytes that its blobs take in a registry: chunk table and packs, those that it shares with other
    /// versions among them.
    pub stored_bytes: u64,
    /// Bytes of it that chunks cover: all that are not zero, rounded to blocks.
    pub data_bytes: u64,
    /// How it was cut into chunks.
    pub chunker: Chunker,
}

/// How a disk was cut into chunks. Readers need none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunker {
    /// The method.
    pub name: String,
    /// The shortest chunk, unless data ends; in bytes.
    pub min: u32,
    /// The average.
    pub average: u32,
    /// The longest.
    pub max: u32,
}

/// What a version was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The version, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// The version's digest, the bootstrap's key, or the downloaded file's digest.
    pub digest: Digest,
    /// `image`, `bootstrap` or `url`.
    pub kind: String,
}

/// Which plan made a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The plan's digest.
    pub digest: Digest,
}

/// How a version is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The machine that clones are booted in.
    pub machine: QemuSpec,
    /// Clones and their checks.
    pub verify: VerifySpec,
    /// The template's tests. Sensitive values are markers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestSpec>,
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
}

/// A layer that a version was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    /// Its step's key.
    pub key: Digest,
    /// When it was made.
    pub created: Timestamp,
}

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

/// One move of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelMove {
    /// The channel.
    pub channel: String,
    /// When.
    pub time: Timestamp,
    /// Who: `user@host`.
    pub who: String,
    /// What moved it: `build`, `promote`.
    pub action: String,
    /// What it pointed at before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<VersionRef>,
    /// What it points at since.
    pub to: VersionRef,
    /// The channel or version that was named in the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The reason given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A version by name and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRef {
    /// Its name.
    pub version: VersionName,
    /// Its index's digest.
    pub digest: Digest,
}

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
            stages.push(StageRecord {
                stage: Stage::Verify,
                name: Stage::Verify.name().to_owned(),
                seconds: record.seconds,
                bytes: 0,
                cached: false,
                layer: None,
            });
        }
        let verify = verify.map_or(
            VerifyView { status: VerifyStatus::Unverified, time: None, tests: Vec::new() },
            |record| VerifyView {
                status: record.status,
                time: Some(record.time),
                tests: record.tests,
            },
        );
        Self {
            name: config.name,
            version: config.version,
            digest,
            channels,
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
        }
    }
}

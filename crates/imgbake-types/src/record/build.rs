//! What is kept of each build under `IMGBAKE_HOME/builds/ID/`: stored documents.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::stream::Stream;
use crate::{Digest, Outcome, Plan, Reference, Stage};

/// The format number of the documents of a build's record.
pub const FORMAT: u32 = 1;

/// `build.json`: what was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStart {
    /// The shape of this document, [`FORMAT`].
    pub format: u32,
    /// The build's name, unique on its host.
    pub id: String,
    /// The image's name.
    pub image: String,
    /// The template's path.
    pub template: Utf8PathBuf,
    /// When it was begun, or announced where it waits for others.
    pub started: Timestamp,
    /// Which imgbake builds.
    pub imgbake: String,
}

/// `plan.json`: what was to be done. Sensitive values are markers.
#[derive(Debug, Clone, Serialize)]
pub struct BuildPlan<'a> {
    /// The shape of this document, [`FORMAT`].
    pub format: u32,
    /// The plan.
    pub plan: &'a Plan,
}

/// `result.json`: how it ended. A build that was killed has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildResult {
    /// The shape of this document, [`FORMAT`].
    pub format: u32,
    /// How, as its last event says.
    pub outcome: Outcome,
    /// When.
    pub ended: Timestamp,
    /// Wall time in seconds.
    pub seconds: f64,
    /// The version, if one was published or was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The channel that points at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The stage that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<StageName>,
}

/// A stage by its word and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageName {
    /// Which.
    pub stage: Stage,
    /// Its name: a provision step's or the stage's word.
    pub name: String,
}

/// The first line of each file of `output/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputHeader {
    /// The shape of this file, [`FORMAT`].
    pub format: u32,
    /// The step's, test's or machine's name.
    pub name: String,
    /// Whether it is a machine's console.
    pub console: bool,
}

/// Each other line of such a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLine {
    /// Its number in the whole output, from 1: of a long one the beginning is not kept.
    pub number: u64,
    /// Where it came from.
    pub stream: Stream,
    /// The line, without its end.
    pub line: String,
}

//! The stages of the flow, and how they end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stage of the flow.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Getting the base disk.
    Source,
    /// Starting the machine until ssh answers.
    Boot,
    /// Letting a saved machine go on, or starting one from a layer's disk.
    Restore,
    /// One provision step.
    Provision,
    /// Taking identity and secrets out, and powering off.
    Seal,
    /// Reading the disk.
    Capture,
    /// Naming the version.
    Publish,
    /// Booting the published bytes and testing them.
    Verify,
    /// Moving a channel.
    Promote,
    /// Writing a version's bytes in a disk format.
    Export,
    /// Moving a version between registries.
    Copy,
}

impl Stage {
    /// The stage's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Boot => "boot",
            Self::Restore => "restore",
            Self::Provision => "provision",
            Self::Seal => "seal",
            Self::Capture => "capture",
            Self::Publish => "publish",
            Self::Verify => "verify",
            Self::Promote => "promote",
            Self::Export => "export",
            Self::Copy => "copy",
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// Its result was there already: a layer.
    Cached,
    /// Done, with something the user should read.
    Warning,
    /// Not needed or not wanted.
    Skipped,
    /// It failed.
    Failed,
}

//! What reading everything again showed.

use imgbake_types::Digest;
use serde::Serialize;

/// What reading everything again showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DeepReport {
    /// Names whose blobs were read.
    pub names: usize,
    /// Blobs that were read.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were not what their names say.
    pub damaged: Vec<Damage>,
}

impl DeepReport {
    /// Whether nothing is damaged any more.
    pub fn is_sound(&self) -> bool {
        self.damaged.iter().all(|damage| damage.repaired_from.is_some())
    }
}

/// A damaged blob.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Damage {
    /// The blob.
    pub digest: Digest,
    /// What is wrong with it.
    pub why: String,
    /// What needs it: versions and channels, `NAME:TAG`.
    pub breaks: Vec<String>,
    /// Where it was taken from again.
    pub repaired_from: Option<String>,
}

impl Damage {
    /// Adds what keeps it from being repaired to why it is damaged.
    pub(super) fn also(&mut self, words: &str) {
        self.why.push_str("; ");
        self.why.push_str(words);
    }
}

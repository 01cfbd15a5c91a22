//! What sealing removed from a machine.

use serde::{Deserialize, Serialize};

/// What sealing removed from a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRecord {
    /// The shape of this document, [`SealRecord::FORMAT`].
    pub format: u32,
    /// Each operation that ran, in order.
    pub operations: Vec<SealedItems>,
    /// What the user should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl SealRecord {
    /// The format number.
    pub const FORMAT: u32 = 1;

    /// Files and folders that were removed in all.
    pub fn removed(&self) -> u64 {
        self.operations.iter().map(|operation| operation.removed).sum()
    }

    /// Bytes that they held.
    pub fn bytes(&self) -> u64 {
        self.operations.iter().map(|operation| operation.bytes).sum()
    }
}

/// What one seal operation removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedItems {
    /// The operation's name.
    pub operation: String,
    /// Files and folders that it removed or emptied.
    pub removed: u64,
    /// Bytes that they held.
    pub bytes: u64,
}

//! What starts a machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What starts first in a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF (x86_64) or AAVMF (aarch64).
    Uefi,
}

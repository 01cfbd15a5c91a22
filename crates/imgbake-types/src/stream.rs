//! Where lines of output come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a line of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The machine's serial console.
    Console,
}

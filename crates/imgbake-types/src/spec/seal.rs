//! `[seal]`: what is taken out of the machine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[seal]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealSpec {
    /// Operations that are left out, by name (`imgbake seal --list` lists them).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Operations that run only when they are named here, such as `package-lists`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Sensitive variables whose values the residue check lets stay in the image, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_sensitive: Vec<String>,
    /// What a hit of the residue check does. Default: `fail`.
    #[serde(default)]
    pub residue: Residue,
}

/// What a hit of the residue check does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Residue {
    /// The build fails.
    #[default]
    Fail,
    /// The build warns. A secret or a key of this build fails it all the same.
    Warn,
}

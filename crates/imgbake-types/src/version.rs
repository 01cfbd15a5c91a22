//! Version names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// The name of a version: an OCI tag that never moves. By default `YYYY.MM.DD-N`; a template may
/// choose its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionName(String);

impl VersionName {
    /// The `number`th version (from 1) of a day given as `YYYY.MM.DD`.
    pub fn dated(day: &str, number: u32) -> Self {
        Self(format!("{day}-{number}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text is an OCI tag (distribution-spec, "Pulling manifests"):
/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VersionName {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if is_tag(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new(text, "a version: letters, digits, `_`, `.` and `-`, 128 at most"))
        }
    }
}

impl TryFrom<String> for VersionName {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<VersionName> for String {
    fn from(version: VersionName) -> Self {
        version.0
    }
}

//! A list of versions: one that cannot be read hides no other.

use serde::Serialize;

use super::{Problem, VersionView};
use crate::{Digest, VersionName};

/// An entry in a list of versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ListedVersion {
    /// A version.
    Readable(Box<VersionView>),
    /// A version that this imgbake cannot read.
    Unreadable(UnreadableVersion),
}

/// A version that this imgbake cannot read: what its name alone says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnreadableVersion {
    /// The image's name.
    pub name: String,
    /// The version's tag.
    pub version: VersionName,
    /// Its index's digest.
    pub digest: Digest,
    /// The channels that point at it.
    pub channels: Vec<String>,
    /// Why it cannot be read.
    pub problem: Problem,
}

impl ListedVersion {
    /// The image's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Readable(version) => &version.name,
            Self::Unreadable(version) => &version.name,
        }
    }

    /// The version's tag.
    pub fn version(&self) -> &str {
        match self {
            Self::Readable(version) => version.version.as_str(),
            Self::Unreadable(version) => version.version.as_str(),
        }
    }

    /// The version's digest.
    pub const fn digest(&self) -> &Digest {
        match self {
            Self::Readable(version) => &version.digest,
            Self::Unreadable(version) => &version.digest,
        }
    }

    /// The channels that point at it.
    pub fn channels(&self) -> &[String] {
        match self {
            Self::Readable(version) => &version.channels,
            Self::Unreadable(version) => &version.channels,
        }
    }

    /// The version, where it can be read.
    pub fn readable(&self) -> Option<&VersionView> {
        match self {
            Self::Readable(version) => Some(version),
            Self::Unreadable(_) => None,
        }
    }
}

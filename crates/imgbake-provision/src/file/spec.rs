//! What a file step's author wrote.

use camino::Utf8PathBuf;
use imgbake_types::spec::rules::Mistake;
use imgbake_types::spec::{HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::rules;

/// `type = "file"`: exactly one of `source` and `content` (or `source` alone where `direction` is
/// `download`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// What is copied: a file or folder on the host, beside the template; in the machine for a
    /// download. A folder's contents go into `destination`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub source: Option<Utf8PathBuf>,
    /// What the file shall hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Where it goes: an absolute path in the machine; on the host for a download.
    #[schemars(with = "String")]
    pub destination: Utf8PathBuf,
    /// Which way. Default: `upload`.
    #[serde(default)]
    pub direction: Direction,
    /// `user` or `user:group`. Default: `root:root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The file's permissions in octal; for a folder, those of each file in it. Default: `0644` for
    /// content, the host file's for a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-7]{3,4}$"))]
    pub mode: Option<String>,
}

impl ProvisionerSettings for FileSpec {
    const SENSITIVE: &'static [&'static str] = &["content"];

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        rules::check(settings)
    }

    fn host_paths(&self) -> Vec<HostPath> {
        match (self.direction, &self.source, &self.mode) {
            (Direction::Download, ..) => vec![HostPath::write("/destination")],
            (Direction::Upload, None, _) => Vec::new(),
            (Direction::Upload, Some(_), None) => vec![HostPath::read_with_mode("/source")],
            (Direction::Upload, Some(_), Some(_)) => vec![HostPath::read("/source")],
        }
    }
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the host into the machine.
    #[default]
    Upload,
    /// From the machine to the host. No layer keeps what it writes: the step always runs, and so does all
    /// that follows it.
    Download,
}

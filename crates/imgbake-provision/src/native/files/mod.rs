//! `type = "files"`

mod entry;
mod tree;

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_types::Span;
use imgbake_types::spec::rules::{Mistake, not_empty};
use imgbake_types::spec::{HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::entry::FileEntry;
use super::script::Script;
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("files.sh");

/// `type = "files"`: many files, folders and links at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilesSpec {
    /// The files, in order.
    #[schemars(length(min = 1))]
    pub files: Vec<FileEntry>,
    /// Environment variables of the tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take, without the way into the machine. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for FilesSpec {
    const SENSITIVE: &'static [&'static str] = &["files", "env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let mut found: Vec<Mistake> = not_empty(settings, "files").into_iter().collect();
        found.extend(entry::check(settings.get("files").and_then(Value::as_array)));
        found
    }

    fn host_paths(&self) -> Vec<HostPath> {
        let sources = self.files.iter().enumerate().filter(|(_, entry)| entry.source.is_some());
        let path = |(index, entry): (usize, &FileEntry)| {
            let pointer = format!("/files/{index}/source");
            match entry.mode {
                Some(_) => HostPath::read(&pointer),
                None => HostPath::read_with_mode(&pointer),
            }
        };
        sources.map(path).collect()
    }
}

#[async_trait]
impl NativeStep for FilesSpec {
    const NAME: &'static str = "files";
    const ABOUT: &'static str = "Makes many files, folders and links as they are declared.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    async fn script(&self, folder: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[FUNCTIONS]);
        for (index, entry) in self.files.iter().enumerate() {
            entry.add(&index.to_string(), folder, &mut script).await?;
        }
        Ok(script)
    }
}

//! `[[provision]]`: what changes the machine.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Span;

/// `[[provision]]`, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ProvisionSpec {
    /// Runs a script or commands.
    Shell(ShellSpec),
    /// Moves files between the host and the machine.
    File(FileSpec),
}

impl ProvisionSpec {
    /// The value of `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Shell(_) => "shell",
            Self::File(_) => "file",
        }
    }

    /// Whether the step says that it restarts the machine.
    pub fn expects_restart(&self) -> bool {
        matches!(self, Self::Shell(spec) if spec.reboot == Reboot::Expected)
    }

    /// Whether its result may be used again.
    pub fn cache(&self) -> bool {
        match self {
            Self::Shell(spec) => spec.cache,
            Self::File(spec) => spec.cache,
        }
        .unwrap_or(true)
    }

    /// The name that the author gave.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Shell(spec) => spec.name.as_deref(),
            Self::File(spec) => spec.name.as_deref(),
        }
    }
}

/// `type = "shell"`: exactly one of `script` and `inline`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellSpec {
    /// The step's name. Default: `shell-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A script on the host, beside the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub script: Option<Utf8PathBuf>,
    /// Lines of a script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Vec<String>>,
    /// What runs the script. Default: the script's own `#!` line, else `/bin/sh -e`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<Vec<String>>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Who runs it. Default: `root`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The folder it starts in. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// How long one try may take. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What happens after a failed try. Default: the build fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// Exit codes that mean success. Default: `[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_codes: Option<Vec<i32>>,
    /// Whether the step restarts the machine. Default: `no`.
    #[serde(default)]
    pub reboot: Reboot,
    /// `false`: the step always runs, and so does all that follows it. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// Text that decides the step's result beside its settings, for example the digest of a package
    /// index: where it differs, the step runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
}

impl ShellSpec {
    /// Who runs it.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }
    /// The folder it starts in.
    pub fn workdir(&self) -> &str {
        self.workdir.as_deref().unwrap_or("/")
    }
    /// How long one try may take.
    pub fn timeout(&self) -> Span {
        self.timeout.unwrap_or(Span::secs(3600))
    }
    /// Exit codes that mean success.
    pub fn exit_codes(&self) -> &[i32] {
        self.exit_codes.as_deref().unwrap_or(&[0])
    }
}

/// `retry = { attempts = 3, backoff = "1s" }`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrySpec {
    /// Tries in all.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// The wait before the second try; it doubles with each further one, up to a minute. Default:
    /// `1s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
}

/// Whether a step restarts the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reboot {
    /// A restart fails the build.
    #[default]
    No,
    /// The step ends with a restart; the next step runs after it. A step that ends without one fails.
    Expected,
}

/// `type = "file"`: exactly one of `source` and `content` (or `source` alone where `direction` is
/// `download`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// The step's name. Default: `file-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
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
    /// `false`: the step always runs, and so does all that follows it. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<bool>,
    /// Text that decides the step's result beside its settings, for example the digest of a package
    /// index: where it differs, the step runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
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

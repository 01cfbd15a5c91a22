//! What a template's author wrote, one type per table.
//!
//! Field names are the template's keys; the template's JSON Schema is generated from these types, and
//! the same schema checks a template before it is read into them. A `None` means that the author said
//! nothing; the method of the same name as the field gives the value that then holds.

mod builder;
mod converge;
mod input;
pub mod pointer;
mod provision;
mod provisioner;
pub mod rules;
mod seal;
mod source;
mod verify;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use builder::{BuilderKind, BuilderSpec, SshSpec};
pub use converge::{Converge, ConvergeSpec, ConvergeSteps};
pub use input::StepInput;
pub use provision::ProvisionSpec;
pub use provisioner::{HostAccess, HostPath, ProvisionStep, ProvisionerKind, ProvisionerSettings};
pub use seal::{Residue, SealSpec};
pub use source::{BootstrapSpec, Distribution, SourceSpec};
pub use verify::{Datasource, ExtraDisks, TestSpec, VerifySpec};

pub use crate::firmware::Firmware;

/// A whole template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "imgbake template")]
pub struct TemplateSpec {
    /// What the image is called.
    pub image: ImageSpec,
    /// Values that the caller may set; used elsewhere as `{{ var.NAME }}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, VariableSpec>,
    /// Builds of one template: each table gives variables a list of values, and every combination of
    /// them is a build. Several tables add up. A value that the caller gives replaces a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<BTreeMap<String, Vec<serde_json::Value>>>,
    /// What of a build is kept for the next one.
    #[serde(default)]
    pub cache: CacheSpec,
    /// Where the machine's disk comes from: exactly one of `bootstrap`, `url`, `image`.
    pub source: SourceSpec,
    /// What makes the machine.
    #[serde(default)]
    pub builder: BuilderSpec,
    /// How the build talks to the machine.
    #[serde(default)]
    pub ssh: SshSpec,
    /// What changes the machine, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provision: Vec<ProvisionSpec>,
    /// How it is proved that the steps converge in one run.
    #[serde(default, skip_serializing_if = "ConvergeSpec::is_default")]
    pub converge: ConvergeSpec,
    /// What is taken out of the machine before its disk is read.
    #[serde(default)]
    pub seal: SealSpec,
    /// How the published image is proved.
    #[serde(default)]
    pub verify: VerifySpec,
    /// Commands that must succeed in a machine booted from the published image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<TestSpec>,
    /// How the version is named, and the channel that it enters.
    #[serde(default)]
    pub publish: PublishSpec,
}

/// `[image]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// The image's name in the registry: lower-case letters, digits, `.`, `_`, `-` and `/`.
    #[schemars(regex(pattern = r"^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"))]
    pub name: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The architecture. Default: `x86_64`.
    #[serde(default)]
    pub arch: crate::Arch,
    /// Further annotations of the published manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `[variables.NAME]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariableSpec {
    /// What kind of value it takes. Default: that of `default`, else `string`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<VariableType>,
    /// The value where the caller gives none. Without it, the caller must give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Never printed and never stored.
    #[serde(default)]
    pub sensitive: bool,
    /// The only values it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Vec<serde_json::Value>>,
    /// A regular expression that the whole of a string value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    /// Text.
    String,
    /// An integer or a decimal number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A list of the above.
    List,
}

/// `[cache]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// Whether the memory of a machine that has seen a sensitive value is kept too, readable by this
    /// user alone; else only its disk is, and a machine boots from it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive_memory: bool,
}

/// `[publish]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSpec {
    /// The channel that a verified version enters. Default: none is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"))]
    pub channel: Option<String>,
    /// The version's name. Default: `YYYY.MM.DD-N`, the day in UTC and the next free number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$"))]
    pub version: Option<String>,
    /// Files written beside the published version, for example `out/debian.qcow2`: the extension
    /// shows the format (`raw`, `qcow2`, `vmdk`, `vhd`, `vhdx`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub output: Vec<Utf8PathBuf>,
    /// The whole disk as one file in the version as well, for tools that know nothing of chunks:
    /// `qcow2` or `raw.zst`. It takes its full size in the registry with every version. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<PlainFormat>,
    /// The published disk's size, at least that of the machine's disk: the first boot of a machine grows its
    /// root into it, as on a cloud. It decides no layer, so that builds of several sizes share all of theirs.
    /// Default: that of the machine's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<crate::Size>,
}

/// The form of a whole disk that a version has beside its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PlainFormat {
    /// A qcow2 image, compressed with zstd.
    #[serde(rename = "qcow2")]
    Qcow2,
    /// The raw disk in one zstd frame.
    #[serde(rename = "raw.zst")]
    RawZst,
}

impl PlainFormat {
    /// Its word, which is its file name's end as well.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::RawZst => "raw.zst",
        }
    }
}

//! `[source]`: where the machine's disk comes from.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[source]`: exactly one of `bootstrap`, `url` and `image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// A disk made from a distribution's packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<BootstrapSpec>,
    /// A disk image that exists already: `https://…`, `http://…`, `file:…` or a path beside the
    /// template. Raw or qcow2, plain or packed with xz, gzip or zstd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// For `url`: `sha256:…`, `sha512:…`, `file:URL` of a `SHA256SUMS` or `SHA512SUMS` file, or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Needed beside `checksum = "none"`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_unverified: bool,
    /// For `url`: request headers, for example an authorization from a sensitive variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A version in the registry: `NAME:CHANNEL`, `NAME:VERSION` or `NAME@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// A distribution that `bootstrap` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Debian 12 and later.
    Debian,
    /// Ubuntu 22.04 and later.
    Ubuntu,
}

/// `bootstrap = { … }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BootstrapSpec {
    /// Whose packages.
    pub distribution: Distribution,
    /// The release's code name, such as `bookworm` or `noble`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9-]*$"))]
    pub suite: String,
    /// The packages' mirror. Default: the one this host uses, else the distribution's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// The archive's components. Default: `main` (Debian), `main` and `universe` (Ubuntu).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<String>>,
    /// Packages beside those that the image needs in order to boot; with `-` before it, one of those that is
    /// left out, such as `-systemd-timesyncd`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Whether security and stable updates are taken in. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<bool>,
    /// The kernel's package. Default: the distribution's smallest for virtual machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// A keyring file that signs the archive. Default: the distribution's archive keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub keyring: Option<Utf8PathBuf>,
    /// Words added to the kernel's command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// The base disk's size, before the builder's `disk` grows it. Default: what its files need and
    /// a quarter more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<crate::Size>,
}

//! `type = "certificate"`

use std::collections::BTreeMap;
use std::fs;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::Span;
use imgbake_types::spec::rules::{At, Mistake, not_empty};
use imgbake_types::spec::{HostPath, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pem;
use super::script::Script;
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("certificate.sh");

/// `type = "certificate"`: certificates of authorities that the machine trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// Files beside the template with certificates in PEM form.
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub files: Vec<Utf8PathBuf>,
    /// What the certificate is called in the machine, where there is one file. Default: the file's name without its
    /// ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"))]
    pub certificate: Option<String>,
    /// Environment variables of the tool that makes the trust store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

impl ProvisionerSettings for CertificateSpec {
    const SENSITIVE: &'static [&'static str] = &["env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let mut found: Vec<Mistake> = not_empty(settings, "files").into_iter().collect();
        let files = settings.get("files").and_then(Value::as_array).map_or(0, Vec::len);
        if files > 1 && settings.contains_key("certificate") {
            let message = "`certificate` is the name of one file's certificate, and there are more";
            found.push(
                Mistake::new("bad-value", At::key("certificate"), message)
                    .help("make a step for each"),
            );
        }
        found
    }

    fn host_paths(&self) -> Vec<HostPath> {
        (0..self.files.len()).map(|at| HostPath::read(&format!("/files/{at}"))).collect()
    }
}

impl CertificateSpec {
    /// Each certificate: its name and text. A trust store takes one from a file.
    fn certificates(&self) -> Result<Vec<(String, String)>, StepError> {
        let mut all: Vec<(String, String)> = Vec::new();
        for path in &self.files {
            let text = fs::read(path)
                .map_err(|source| StepError::Read { path: path.clone(), source })
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
            let found = pem::certificates(&text)
                .map_err(|why| StepError::Usage(format!("{path} {why}")))?;
            let name = self.name(path);
            let many = found.len() > 1;
            for (index, certificate) in found.into_iter().enumerate() {
                let name = if many { format!("{name}-{}", index + 1) } else { name.clone() };
                if all.iter().any(|(other, _)| *other == name) {
                    let what = format!(
                        "two certificates would be called `{name}`: rename one of the files"
                    );
                    return Err(StepError::Usage(what));
                }
                all.push((name, certificate));
            }
        }
        Ok(all)
    }

    /// What a file's certificate is called: letters, digits and a few marks, as the trust stores' tools want it.
    fn name(&self, path: &Utf8Path) -> String {
        let stem = self.certificate.as_deref().or(path.file_stem()).unwrap_or("certificate");
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
        stem.chars().map(plain).collect()
    }
}

#[async_trait]
impl NativeStep for CertificateSpec {
    const NAME: &'static str = "certificate";
    const ABOUT: &'static str =
        "Makes the machine trust certificates, such as those of a company's authority.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    fn check_files(&self) -> Result<(), StepError> {
        self.certificates().map(drop)
    }

    async fn script(&self, _: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[FUNCTIONS]);
        script.call("find_store", [""; 0]);
        for (name, text) in self.certificates()? {
            script.call("certificate", [name, text]);
        }
        script.call("update", [""; 0]);
        Ok(script)
    }
}

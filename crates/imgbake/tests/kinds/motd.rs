//! A kind of provisioner: `type = "motd"`.

use async_trait::async_trait;
use camino::Utf8PathBuf;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::Exec;
use imgbake_types::spec::rules::{Mistake, exactly_one};
use imgbake_types::spec::{HostPath, ProvisionerKind, ProvisionerSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `type = "motd"`: exactly one of `text` and `file`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MotdSpec {
    /// What a login shows first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// A file on the host that holds it, beside the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    file: Option<Utf8PathBuf>,
}

impl ProvisionerSettings for MotdSpec {
    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        exactly_one(settings, ["text", "file"]).into_iter().collect()
    }

    fn host_paths(&self) -> Vec<HostPath> {
        self.file.iter().map(|_| HostPath::read("/file")).collect()
    }
}

/// Runs motd steps.
pub(crate) struct Motd;

#[async_trait]
impl Provisioner for Motd {
    fn kind(&self) -> ProvisionerKind {
        ProvisionerKind::of::<MotdSpec>("motd", "Sets the message that a login shows first.")
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: MotdSpec = context.settings()?;
        let text = match &spec.file {
            Some(path) => tokio::fs::read(path).await.map_err(|error| {
                BuildError::failed(format!("step `{}`: cannot read {path}: {error}", context.name))
            })?,
            None => spec.text.unwrap_or_default().into_bytes(),
        };
        context.recorder.moved(text.len() as u64);
        let write = Exec::new(context.comm.as_root("cat >/etc/motd")).stdin_bytes(text);
        context.job.cancel().run(context.comm.check(write)).await??;
        Ok(StepEnd::Running)
    }
}

//! The files that a step's program reads in the machine.

use camino::Utf8Path;
use imgbake_build::StepContext;
use imgbake_comm::shell::quote;
use imgbake_comm::transfer::Uploaded;
use imgbake_comm::{Exec, transfer};
use imgbake_runtime::Secrets;
use imgbake_types::Digest;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::error::StepError;

/// Where they are: in memory, so that no image has them.
const BASE: &str = "/run/imgbake";

/// A folder of the machine for one step, readable by root alone. It has the same path at each run of the step:
/// what is made of a path that it names is the same then.
#[derive(Clone)]
pub(crate) struct Folder<'a> {
    context: &'a StepContext<'a>,
    path: String,
}

/// The step's name, the same at its second run.
pub(crate) fn step_name<'a>(context: &StepContext<'a>) -> &'a str {
    context.spec.name.as_deref().unwrap_or(context.name)
}

/// What all processes of a step have in their environment, so that they are found where they are to end. It is the
/// same at its second run, and in every build: a program may write down its environment.
pub(crate) fn run_id(context: &StepContext<'_>) -> String {
    Digest::sha256(format!("run of {}", step_name(context))).short().to_string()
}

impl<'a> Folder<'a> {
    /// Makes the folder, empty.
    pub(crate) async fn make(context: &'a StepContext<'a>) -> Result<Self, StepError> {
        let digest = Digest::sha256(step_name(context));
        let folder = Self { context, path: format!("{BASE}/{}", digest.short()) };
        let at = quote(&folder.path);
        folder.root(&format!("rm -rf {at} && mkdir -p {BASE} && mkdir -m 0700 {at}")).await?;
        Ok(folder)
    }

    /// Does something with a folder, and takes it out of the machine however that ends.
    pub(crate) async fn with<T, W: Future<Output = Result<T, StepError>>>(
        context: &'a StepContext<'a>,
        work: impl FnOnce(Self) -> W,
    ) -> Result<T, StepError> {
        let folder = Self::make(context).await?;
        let done = work(folder.clone()).await;
        let removed = folder.remove().await;
        let value = done?;
        removed.map(|()| value)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Copies a file or folder of the host into it, under a name.
    pub(crate) async fn copy(&self, host: &Utf8Path, name: &str) -> Result<(), StepError> {
        let (comm, to) = (self.context.comm, self.path(name));
        let uploaded = if host.is_dir() {
            transfer::upload_dir(comm, host, &to, None, "root:root").await?
        } else {
            transfer::upload_file(comm, host, &to, None, "root:root").await?
        };
        self.moved(&uploaded);
        Ok(())
    }

    /// Writes a file in it; sensitive values are put in here.
    pub(crate) async fn write(&self, name: &str, text: &str) -> Result<(), StepError> {
        let text = self.context.job.secrets().reveal(text);
        self.put(name, text.expose_secret().as_bytes().to_vec()).await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StepError> {
        let to = self.path(name);
        let uploaded = transfer::upload_bytes(self.context.comm, &to, 0o600, "root:root", bytes);
        self.moved(&uploaded.await?);
        Ok(())
    }

    /// Writes a value as JSON into a file in it; sensitive values are put into its texts here.
    pub(crate) async fn write_json(&self, name: &str, value: &Value) -> Result<(), StepError> {
        let value = revealed(self.context.job.secrets(), value);
        self.put(name, value.to_string().into_bytes()).await
    }

    /// Takes it out of the machine.
    pub(crate) async fn remove(self) -> Result<(), StepError> {
        self.root(&format!("rm -rf {}; rmdir {BASE} 2>/dev/null || :", quote(&self.path))).await
    }

    fn moved(&self, uploaded: &Uploaded) {
        self.context.recorder.moved(uploaded.bytes);
        for warning in &uploaded.warnings {
            self.context.recorder.warn(warning);
        }
    }

    async fn root(&self, command: &str) -> Result<(), StepError> {
        let comm = self.context.comm;
        let ran = comm.check(Exec::new(comm.as_root(command)));
        self.context.job.cancel().run(ran).await??;
        Ok(())
    }
}

/// A value with the markers in its texts revealed.
pub(crate) fn revealed(secrets: &Secrets, value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(secrets.reveal(text).expose_secret().to_owned()),
        Value::Array(items) => items.iter().map(|item| revealed(secrets, item)).collect(),
        Value::Object(map) => Value::Object(
            map.iter().map(|(key, item)| (key.clone(), revealed(secrets, item))).collect(),
        ),
        plain => plain.clone(),
    }
}

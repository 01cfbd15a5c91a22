//! The files that a step's program reads in the machine.

use std::time::Duration;

use camino::Utf8Path;
use imgbake_build::StepContext;
use imgbake_comm::shell::quote;
use imgbake_comm::transfer::Uploaded;
use imgbake_comm::{Exec, KeyPair, transfer};
use imgbake_runtime::Secrets;
use imgbake_types::Digest;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::error::StepError;

/// Where they are: in memory, so that no image has them.
const BASE: &str = "/run/imgbake";
/// How long it may take to remove them; also after the job was cancelled.
const REMOVAL: Duration = Duration::from_secs(10);

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

/// The path of the step's folder, whether it is there or not.
pub(super) fn folder_path(context: &StepContext<'_>) -> String {
    format!("{BASE}/{}", Digest::sha256(step_name(context)).short())
}

impl<'a> Folder<'a> {
    /// Makes the folder, empty.
    pub(crate) async fn make(context: &'a StepContext<'a>) -> Result<Self, StepError> {
        let folder = Self { context, path: folder_path(context) };
        let at = quote(&folder.path);
        let command = format!("rm -rf {at} && mkdir -p {BASE} && mkdir -m 0700 {at}");
        let comm = context.comm;
        let made = context.job.cancel().run(comm.check(Exec::new(comm.as_root(&command)))).await;
        match made {
            Ok(Ok(_)) => Ok(folder),
            Ok(Err(error)) => Err(error.into()),
            Err(cancelled) => {
                // It may have been made.
                let _ = folder.remove().await;
                Err(cancelled.into())
            }
        }
    }

    /// The step's name.
    pub(crate) fn step_name(&self) -> &str {
        step_name(self.context)
    }

    /// The user as whom the build is logged in.
    pub(crate) fn login(&self) -> &str {
        self.context.comm.user()
    }

    /// The body of the public key with which the build logs in, where it does so by one.
    pub(crate) fn login_key(&self) -> Option<String> {
        let private = std::fs::read_to_string(&self.context.access.key).ok()?;
        let public = KeyPair::from_openssh(&private).ok()?.public_openssh();
        public.split(' ').nth(1).map(str::to_owned)
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
        let upload = async {
            if host.is_dir() {
                transfer::upload_dir(comm, host, &to, None, "root:root").await
            } else {
                transfer::upload_file(comm, host, &to, None, "root:root").await
            }
        };
        self.moved(&self.context.job.cancel().run(upload).await??);
        Ok(())
    }

    /// Writes a file in it; sensitive values are put in here.
    pub(crate) async fn write(&self, name: &str, text: &str) -> Result<(), StepError> {
        let text = self.context.job.secrets().reveal(text);
        self.put(name, text.expose_secret().as_bytes().to_vec()).await
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StepError> {
        let to = self.path(name);
        let upload = transfer::upload_bytes(self.context.comm, &to, 0o600, "root:root", bytes);
        self.moved(&self.context.job.cancel().run(upload).await??);
        Ok(())
    }

    /// Writes a value as JSON into a file in it; sensitive values are put into its texts here.
    pub(crate) async fn write_json(&self, name: &str, value: &Value) -> Result<(), StepError> {
        let value = revealed(self.context.job.secrets(), value);
        self.put(name, value.to_string().into_bytes()).await
    }

    /// Removes it from the machine, also where the job was cancelled.
    pub(crate) async fn remove(self) -> Result<(), StepError> {
        let command = format!("rm -rf {}; rmdir {BASE} 2>/dev/null || :", quote(&self.path));
        let comm = self.context.comm;
        let removed = comm.check(Exec::new(comm.as_root(&command)).timeout(REMOVAL)).await;
        removed.map(drop).map_err(StepError::from)
    }

    fn moved(&self, uploaded: &Uploaded) {
        self.context.recorder.moved(uploaded.bytes);
        for warning in &uploaded.warnings {
            self.context.recorder.warn(warning);
        }
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

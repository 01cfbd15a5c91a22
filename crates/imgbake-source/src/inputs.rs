//! What the `inputs` of a template's steps are right now.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use imgbake_build::{BuildError, BuildErrorKind, Pin, PinMemory};
use imgbake_http::RetryPolicy;
use imgbake_runtime::{Job, Tool};
use imgbake_types::Digest;
use imgbake_types::spec::StepInput;

use crate::client::SourceClient;
use crate::location::Location;
use crate::pin::{Limits, within};

/// The most bytes that a URL or a command may give: indexes of repositories have some megabytes.
const MAX_BYTES: usize = 64 << 20;
const SHELL: Tool = Tool::new("sh", "dash");

/// Asks what `url:` and `command:` inputs are.
#[derive(Debug, Clone, Copy)]
pub struct StepInputs {
    limits: Limits,
}

impl Default for StepInputs {
    fn default() -> Self {
        Self { limits: Limits { retries: RetryPolicy::brief(), time: Duration::from_secs(60) } }
    }
}

impl StepInputs {
    #[cfg(test)]
    pub(crate) const fn with_limits(limits: Limits) -> Self {
        Self { limits }
    }

    /// The digest of what each input gives now, by its text; files are none of this method's. Commands run in
    /// `dir`, one after the other. Each input is asked for once, however often it is in `inputs`.
    ///
    /// # Errors
    /// A URL that nobody answers for, now or before: where somebody did before, there is a warning instead. A
    /// command that fails or does not end within a minute.
    pub async fn ask<'t>(
        &self,
        job: &Job,
        dir: &Utf8Path,
        inputs: impl Iterator<Item = &'t str>,
    ) -> Result<BTreeMap<String, Digest>, BuildError> {
        let mut found = BTreeMap::new();
        for text in inputs {
            if found.contains_key(text) {
                continue;
            }
            let digest = match StepInput::parse(text) {
                Some(StepInput::Url(url)) => self.url(job, url).await?,
                Some(StepInput::Command(command)) => self.command(job, dir, command).await?,
                Some(StepInput::File(_)) | None => continue,
            };
            found.insert(text.to_owned(), digest);
        }
        Ok(found)
    }

    async fn url(&self, job: &Job, text: &str) -> Result<Digest, BuildError> {
        let Location::Http(url) = Location::parse(text)? else {
            let context = format!("the input `url:{text}` is no http(s) URL");
            return Err(BuildError::new(BuildErrorKind::Usage, context)
                .help("`file:PATH` is a file of this host"));
        };
        let client =
            SourceClient::new((job, None), &BTreeMap::new(), Some(&url), self.limits.retries)?;
        let asking = async {
            let bytes = client.small(&url, MAX_BYTES).await?;
            Ok(Pin::Now(Digest::sha256(&bytes).to_string()))
        };
        let answer = within(job, self.limits, text, asking).await;
        let memory = PinMemory::new(job.home(), &format!("input\n{text}"));
        match memory.settle(job, answer.map_err(BuildError::from))? {
            Pin::Now(digest) => Ok(Digest::sha256(digest)),
            // Neither is asked for above.
            Pin::Fixed | Pin::Unknown(_) => {
                Err(BuildError::failed(format!("what {text} has is not known")))
            }
        }
    }

    async fn command(&self, job: &Job, dir: &Utf8Path, text: &str) -> Result<Digest, BuildError> {
        let command = SHELL.command()?.arg("-c").arg(text).current_dir(dir);
        let running = tokio::time::timeout(self.limits.time, command.output(job));
        let output = running.await.map_err(|_| {
            let limit = self.limits.time.as_secs_f64();
            BuildError::failed(format!(
                "the input `command:{text}` did not end within {limit} seconds"
            ))
        })??;
        if !output.status.success() {
            let words = output.stderr.trim();
            let words = if words.is_empty() { String::new() } else { format!(":\n{words}") };
            let context = format!("the input `command:{text}` failed ({}){words}", output.status);
            return Err(BuildError::failed(context)
                .help("a step's `inputs` must be known before the build begins"));
        }
        Ok(Digest::sha256(&output.stdout))
    }
}

//! Runs a native step.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use async_trait::async_trait;
use imgbake_build::{BuildError, BuildErrorKind, Provisioner, StepContext, StepEnd};
use imgbake_runtime::Job;
use imgbake_types::spec::{ProvisionSpec, ProvisionerKind, ProvisionerSettings};
use imgbake_types::{Span, secret};
use serde_json::Value;

use super::script::Script;
use crate::error::StepError;
use crate::guest::{Folder, Program, Results};

/// The settings of a kind of native step, and the script that they are.
#[async_trait]
pub(crate) trait NativeStep: ProvisionerSettings + Send + Sync + 'static {
    /// Its name in templates.
    const NAME: &'static str;
    /// What it does, in a sentence.
    const ABOUT: &'static str;
    /// How long it may take where the template does not say.
    const TIMEOUT: Span = Span::secs(600);

    /// Environment variables of the tools that it runs.
    fn env(&self) -> &BTreeMap<String, String>;

    /// How long it may take, where the template says.
    fn timeout(&self) -> Option<Span>;

    /// Looks for mistakes in the files of the host that it names.
    fn check_files(&self) -> Result<(), StepError> {
        Ok(())
    }

    /// The script, without its end. Files that it reads are put into the folder.
    async fn script(&self, folder: &Folder<'_>) -> Result<Script, StepError>;
}

/// Runs the native steps of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Native<S>(PhantomData<fn() -> S>);

impl<S> Native<S> {
    /// The only one there is.
    pub(super) const NEW: Self = Self(PhantomData);
}

#[async_trait]
impl<S: NativeStep> Provisioner for Native<S> {
    fn kind(&self) -> ProvisionerKind {
        ProvisionerKind::of::<S>(S::NAME, S::ABOUT)
    }

    async fn check(&self, _: &Job, name: &str, spec: &ProvisionSpec) -> Result<(), BuildError> {
        let spec: S = spec.read().map_err(|error| {
            BuildError::new(BuildErrorKind::Usage, format!("step `{name}`: {error}"))
        })?;
        spec.check_files().map_err(|error| error.of(name))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: S = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

async fn run<S: NativeStep>(context: &StepContext<'_>, spec: &S) -> Result<(), StepError> {
    check_texts::<S>(context.spec)?;
    spec.check_files()?;
    let folder = Folder::make(context).await?;
    let ran = run_script(context, spec, &folder).await;
    let removed = folder.remove().await;
    ran.and(removed)
}

async fn run_script<S: NativeStep>(
    context: &StepContext<'_>,
    spec: &S,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let (script, secret) = spec.script(folder).await?.finish();
    let env = spec.env().clone().into_iter().chain(secret).collect();
    let program = Program { script, env, timeout: spec.timeout().unwrap_or(S::TIMEOUT) };
    let mut results = Results::default();
    let ended =
        program.run(context, &mut |line| results.take(line, context.recorder, |one| one)).await?;
    match (&ended.exit, results.failed.take()) {
        (Ok(0), _) => match results.contradiction(true) {
            None => Ok(()),
            Some(why) => Err(ended.error(&format!("what it did is unknown: {why}"))),
        },
        (Ok(_), Some(failed)) => Err(StepError::Resource(failed)),
        (Ok(code), None) => Err(ended.error(&format!("it ended with exit code {code}"))),
        (Err(how), _) => Err(ended.error(how)),
    }
}

/// Refuses texts that no script can hold, and sensitive values where the kind takes none: those would be put into the
/// script as they are.
fn check_texts<S: ProvisionerSettings>(spec: &ProvisionSpec) -> Result<(), StepError> {
    for (key, value) in &spec.settings {
        let is_sensitive = S::SENSITIVE.contains(&key.as_str());
        check_text(value, is_sensitive)
            .map_err(|what| StepError::Usage(format!("`{key}` holds {what}")))?;
    }
    Ok(())
}

fn check_text(value: &Value, is_sensitive: bool) -> Result<(), &'static str> {
    match value {
        Value::String(text) if text.contains('\0') => Err("a zero byte"),
        Value::String(text) if !is_sensitive && !secret::names(text).is_empty() => {
            Err("a sensitive variable, and the step's results would show it")
        }
        Value::Array(items) => items.iter().try_for_each(|item| check_text(item, is_sensitive)),
        Value::Object(table) => table.iter().try_for_each(|(key, item)| {
            check_text(&Value::String(key.clone()), false)?;
            check_text(item, is_sensitive)
        }),
        _ => Ok(()),
    }
}

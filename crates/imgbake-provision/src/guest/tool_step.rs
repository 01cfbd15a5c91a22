//! What steps with a tool do in the machine: install it, find it, run it.

use std::collections::BTreeMap;

use imgbake_build::StepContext;
use imgbake_types::Span;

use super::install::{self, Install};
use super::{Ended, Folder, Program, Tool, assignments};
use crate::error::{StepError, check_public};

/// What finds the tool.
const FIND: &str = include_str!("tool.sh");
/// The result that says that there is none.
const MISSING: &str = "missing";

/// What a step says of its tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToolStep<'a> {
    /// The tool.
    pub(crate) tool: &'static Tool,
    /// Its program, where the template names one.
    pub(crate) chosen: Option<&'a str>,
    /// Whether and how it is installed.
    pub(crate) install: Option<&'a Install>,
    /// Environment variables.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// How long a run may take.
    pub(crate) timeout: Span,
}

impl ToolStep<'_> {
    /// Installs the tool where that is wanted, and does the step's work with a folder in the machine.
    pub(crate) async fn in_folder<'a, W: Future<Output = Result<(), StepError>>>(
        &self,
        context: &'a StepContext<'a>,
        work: impl FnOnce(Folder<'a>) -> W,
    ) -> Result<(), StepError> {
        if let Some(key) = self.tool.key {
            check_public(key, self.chosen)?;
        }
        if self.install.is_some_and(|install| *install != Install::Default(false)) {
            self.ensure(context).await?;
        }
        Folder::with(context, work).await
    }

    /// Makes sure that the tool is in the machine.
    pub(crate) async fn ensure(&self, context: &StepContext<'_>) -> Result<(), StepError> {
        install::ensure(context, self.tool, self.chosen, self.install, self.env).await
    }

    /// Runs a script, in which `$tool` is the tool's program and `results FILE` shows the lines of a file as results.
    /// Each result goes to `take`.
    pub(crate) async fn run(
        &self,
        context: &StepContext<'_>,
        script: &str,
        env: BTreeMap<String, String>,
        take: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Ended, StepError> {
        let programs = self.tool.programs(self.chosen).join("\n");
        let values = assignments(&[("FOLDERS", &self.tool.path()), ("PROGRAMS", &programs)]);
        let script = format!("{values}{FIND}{script}");
        let mut is_missing = false;
        let mut take = |line: &str| match line {
            MISSING => is_missing = true,
            line => take(line),
        };
        let program = Program { script, env, timeout: self.timeout };
        let ended = program.run(context, &mut take).await?;
        if is_missing { Err(StepError::Usage(self.tool.missing(self.chosen))) } else { Ok(ended) }
    }
}

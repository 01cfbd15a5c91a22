//! A tool of configuration management in the machine: where it is, and a run of it.

use std::collections::BTreeMap;

use imgbake_build::StepContext;
use imgbake_types::Span;

use super::install::{self, Install};
use super::{Ended, Folder, Program, assignments};
use crate::error::{StepError, check_public};

/// What finds the tool.
const FIND: &str = include_str!("tool.sh");
/// The result that says that there is none.
const MISSING: &str = "missing";

/// A tool that steps need in the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    /// Its name, in lower case.
    pub(crate) name: &'static str,
    /// The programs that steps run: the first that there is.
    pub(crate) programs: &'static [&'static str],
    /// The key in which a template names another program.
    pub(crate) key: Option<&'static str>,
    /// Folders beside those in `PATH` where its packages put it.
    pub(crate) folders: &'static [&'static str],
    /// The packages of distributions with apt; `a|b` is the first of them that there is.
    pub(crate) apt: &'static [&'static str],
    /// The packages of distributions with apk.
    pub(crate) apk: &'static [&'static str],
    /// What pip installs after them.
    pub(crate) pip: &'static [&'static str],
}

impl Tool {
    /// Where its program may be beside `PATH`, in the form of it.
    pub(super) fn path(&self) -> String {
        let folders = ["/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"];
        folders.iter().chain(self.folders).copied().collect::<Vec<_>>().join(":")
    }

    /// The programs to look for; `chosen` is the one that the template names.
    pub(super) fn programs<'a>(&self, chosen: Option<&'a str>) -> Vec<&'a str> {
        chosen.map_or_else(|| self.programs.to_vec(), |chosen| vec![chosen])
    }

    /// What to do where it is missing.
    pub(super) fn missing(&self, chosen: Option<&str>) -> String {
        if let (Some(key), Some(chosen)) = (self.key, chosen) {
            return format!("`{key}` names `{chosen}`, which is no program in the machine");
        }
        let programs = format!("`{}`", self.programs.join("` or `"));
        let packages: Vec<String> =
            self.apt.iter().map(|name| format!("`{}`", name.replace('|', "` or `"))).collect();
        let path = self.key.map(|key| format!(", or give its path in `{key}`")).unwrap_or_default();
        let what = match (packages.as_slice(), self.pip) {
            ([], []) => {
                return format!(
                    "the machine has no program {programs}, and distributions have no package of it: name packages and \
                     their source in `install`, or install it in a step before{path}"
                );
            }
            (_, [_, ..]) => format!("`{}` with pip", self.pip.join("`, `")),
            (packages, []) => packages.join(", "),
        };
        format!(
            "the machine has no program {programs}: set `install = true`, or install {what} in a step before{path}"
        )
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const TOOL: Tool = Tool {
        name: "tool",
        programs: &["the-tool", "its-tool"],
        key: None,
        folders: &[],
        apt: &["gone|tool", "other"],
        apk: &[],
        pip: &[],
    };

    #[test]
    fn a_missing_tool_says_what_to_set() {
        for (tool, chosen, message) in [
            (
                TOOL,
                None,
                "the machine has no program `the-tool` or `its-tool`: set `install = true`, or install `gone` or \
                 `tool`, `other` in a step before",
            ),
            (
                Tool { pip: &["salt"], key: Some("bin"), ..TOOL },
                None,
                "the machine has no program `the-tool` or `its-tool`: set `install = true`, or install `salt` with \
                 pip in a step before, or give its path in `bin`",
            ),
            (
                Tool { apt: &[], ..TOOL },
                None,
                "the machine has no program `the-tool` or `its-tool`, and distributions have no package of it: name \
                 packages and their source in `install`, or install it in a step before",
            ),
            (
                Tool { key: Some("bin"), ..TOOL },
                Some("/opt/x"),
                "`bin` names `/opt/x`, which is no program in the machine",
            ),
        ] {
            assert_eq!(tool.missing(chosen), message);
        }
    }
}

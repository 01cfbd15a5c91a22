//! One run of Puppet in the machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use imgbake_build::{StepContext, StepRecorder};
use imgbake_comm::shell::quote;
use imgbake_runtime::Tail;
use imgbake_types::Span;

use crate::error::{StepError, check_public};
use crate::guest::{Copies, Ended, ExitCodes, Folder, Install, Results, TIMEOUT, Tool, ToolStep};

/// What finds and runs Puppet, for the machine's shell.
const COMMON: &str = include_str!("run.sh");
/// What writes the results, found through `--libdir`: the packages of Puppet's makers ignore `RUBYLIB`.
const LIBRARY: [(&str, &str); 3] = [
    ("lib/puppet/reports/imgbake_results.rb", include_str!("lib/reports/imgbake_results.rb")),
    (
        "lib/puppet/application/imgbake_results.rb",
        include_str!("lib/application/imgbake_results.rb"),
    ),
    (
        "lib/puppet/application/imgbake_shuffle.rb",
        include_str!("lib/application/imgbake_shuffle.rb"),
    ),
];
/// Puppet as `install` brings it.
const TOOL: Tool = Tool {
    name: "puppet",
    programs: &["puppet"],
    key: Some("puppet_bin"),
    folders: &["/opt/puppetlabs/bin"],
    apt: &["puppet-agent|puppet"],
    apk: &["puppet"],
    pip: &[],
};
/// The result that says that the agent makes no report.
const NO_REPORT: &str = "no-report";

/// What both kinds of step say of Puppet.
pub(super) fn tool<'a>(
    puppet_bin: Option<&'a str>,
    install: Option<&'a Install>,
    env: &'a BTreeMap<String, String>,
    timeout: Option<Span>,
) -> ToolStep<'a> {
    let timeout = timeout.unwrap_or(TIMEOUT);
    ToolStep { tool: &TOOL, chosen: puppet_bin, install, env, timeout }
}

/// One run.
pub(super) struct Run<'a> {
    /// The tool.
    pub(super) step: &'a ToolStep<'a>,
    /// What it runs, in messages: `puppet apply`.
    pub(super) what: &'static str,
    /// The arguments.
    pub(super) args: Vec<String>,
    /// The script that calls `run_puppet "$@"` and `results "$folder/results"`.
    pub(super) script: String,
    /// Environment variables.
    pub(super) env: BTreeMap<String, String>,
}

impl Run<'_> {
    /// Runs it; the folder holds the files that it reads.
    pub(super) async fn run(
        self,
        context: &StepContext<'_>,
        folder: &Folder<'_>,
        copies: &Copies,
    ) -> Result<(), StepError> {
        check_public("args", self.args.iter().map(String::as_str))?;
        for (name, text) in LIBRARY {
            folder.write(name, text).await?;
        }
        let script = self.whole(folder);
        let (mut results, mut no_report) = (Results::default(), false);
        let recorder = context.recorder;
        let mut take = |line: &str| match line {
            NO_REPORT => no_report = true,
            line => results.take(line, recorder, |resource| copies.resource(resource)),
        };
        let ended = self.step.run(context, &script, self.env, &mut take).await?;
        if no_report {
            let what = "the machine's Puppet has `report = false`, and imgbake reads an agent's results from its \
                        report: set `args = [\"--report\"]`, or take the setting out of `puppet.conf`";
            return Err(StepError::Usage(what.to_owned()));
        }
        judge(self.what, &ended, &results, recorder).map_err(|error| copies.error(error))
    }

    /// The whole script.
    fn whole(&self, folder: &Folder<'_>) -> String {
        let words: Vec<String> = self.args.iter().map(String::as_str).map(quote).collect();
        format!(
            "folder={}\n{COMMON}set -- {}\n{}",
            quote(folder.path("").trim_end_matches('/')),
            words.join(" "),
            self.script
        )
    }
}

/// The arguments that `config` in [`COMMON`] is given: a setting, and what the template adds.
pub(super) fn config(setting: &str, args: &[String]) -> String {
    let mut call = format!("$(config {setting}");
    for word in args {
        let _ = write!(call, " {}", quote(word));
    }
    call.push(')');
    call
}

/// What the end of a run means for the step.
///
/// Exit codes with `--detailed-exitcodes`: 0 nothing changed, 2 something did, 4 and 6 resources failed, 1 there was no
/// run.
fn judge(
    program: &'static str,
    ended: &Ended,
    results: &Results,
    recorder: &StepRecorder,
) -> Result<(), StepError> {
    let codes = ExitCodes { program, success: &[0, 2], failed: &[4, 6] };
    let code = results.judge(&codes, ended, recorder, |_| first_error(&ended.tail))?;
    let changed = results.counts.changed;
    if (code == 2) == (changed > 0) {
        return Ok(());
    }
    Err(ended.unknown(&format!(
        "it ended with exit code {code}, and counts {changed} changed resources"
    )))
}

/// Puppet's own words for what it could not begin with, and where: `WORDS (FILE:LINE)`.
fn first_error(tail: &Tail) -> Option<String> {
    let text = tail.text();
    // Facter may fail to learn a fact; that ends no run.
    let mut errors = text.lines().filter_map(|line| line.strip_prefix("Error: "));
    let first = errors.find(|line| !line.starts_with("Facter: "))?;
    Some(with_place(first))
}

/// An error in which `(file: FILE, line: LINE, column: COLUMN)` is `(FILE:LINE)`.
fn with_place(error: &str) -> String {
    let place = |error: &str| {
        let (words, rest) = error.rsplit_once("(file: ")?;
        let (place, after) = rest.split_once(')')?;
        let (file, line) = place.split_once(", line: ").unwrap_or((place, ""));
        let line = line.split_once(',').map_or(line, |(line, _)| line);
        let line = if line.is_empty() { String::new() } else { format!(":{line}") };
        Some(format!("{words}({file}{line}){after}"))
    };
    place(error).unwrap_or_else(|| error.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where() {
        for (error, expected) in [
            ("No more routes to ca", "No more routes to ca"),
            (
                "Syntax error at '}' (file: /a b.pp, line: 3, column: 1) on node x",
                "Syntax error at '}' (/a b.pp:3) on node x",
            ),
            (
                "Syntax error at end of input (file: /a.pp) on node x",
                "Syntax error at end of input (/a.pp) on node x",
            ),
            (
                "declared at (file: /a, line: 1); cannot redeclare (file: /b, line: 2)",
                "declared at (file: /a, line: 1); cannot redeclare (/b:2)",
            ),
            ("cut (file: /a, line", "cut (file: /a, line"),
        ] {
            assert_eq!(with_place(error), expected);
        }
    }
}

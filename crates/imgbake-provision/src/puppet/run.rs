//! One run of Puppet in the machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use imgbake_build::StepContext;
use imgbake_comm::shell::quote;
use imgbake_runtime::Tail;
use imgbake_types::Span;

use crate::error::{StepError, check_public, last_lines};
use crate::guest::install::Tool;
use crate::guest::{Copies, Ended, Folder, Program, Results};

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
pub(super) const TOOL: Tool = Tool {
    name: "puppet",
    program: "puppet",
    folders: &["/opt/puppetlabs/bin"],
    apt: &["puppet-agent|puppet"],
    apk: &["puppet"],
    pip: &[],
};
/// The result that says that there is no Puppet.
const MISSING: &str = "missing";

/// One run.
pub(super) struct Run<'a> {
    /// What it runs, in messages: `puppet apply`.
    pub(super) what: &'static str,
    /// The program in the machine, where the template names it.
    pub(super) puppet: Option<&'a str>,
    /// The arguments.
    pub(super) args: Vec<String>,
    /// The script that calls `run_puppet "$@"` and `results`.
    pub(super) script: String,
    /// Environment variables.
    pub(super) env: &'a BTreeMap<String, String>,
    /// How long it may take.
    pub(super) timeout: Span,
}

impl Run<'_> {
    /// Runs it; the folder holds the files that it reads.
    pub(super) async fn run(
        self,
        context: &StepContext<'_>,
        folder: &Folder<'_>,
        copies: &Copies,
    ) -> Result<(), StepError> {
        check_public("puppet_bin", self.puppet)?;
        check_public("args", self.args.iter().map(String::as_str))?;
        for (name, text) in LIBRARY {
            folder.write(name, text).await?;
        }
        let program =
            Program { script: self.whole(folder), env: self.env.clone(), timeout: self.timeout };
        let (mut results, mut missing) = (Results::default(), false);
        let recorder = context.recorder;
        let mut take = |line: &str| match line {
            MISSING => missing = true,
            line => results.take(line, recorder, |resource| copies.resource(resource)),
        };
        let ended = program.run(context, &mut take).await?;
        if missing {
            return Err(StepError::Usage(lacking(self.puppet)));
        }
        judge(self.what, &ended, &results, copies)?;
        match results.success(recorder) {
            None => Ok(()),
            Some(why) => Err(ended.error(&unknown(&why))),
        }
    }

    /// The whole script.
    fn whole(&self, folder: &Folder<'_>) -> String {
        let words: Vec<String> = self.args.iter().map(String::as_str).map(quote).collect();
        format!(
            "folder={}\npuppet={}\n{COMMON}set -- {}\n{}",
            quote(folder.path("").trim_end_matches('/')),
            quote(self.puppet.unwrap_or_default()),
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

/// There is no such program.
fn lacking(puppet: Option<&str>) -> String {
    match puppet {
        Some(puppet) => format!("`puppet_bin` names {puppet}, which is no program in the machine"),
        None => "Puppet is not in the machine: neither `puppet` in PATH nor /opt/puppetlabs/bin/puppet; set \
                 `install = true`, install it in a step before this one (Debian and Ubuntu: the package `puppet`, or `puppet-agent`), or say in \
                 `puppet_bin` where it is"
            .to_owned(),
    }
}

/// What the end of a run means for the step.
///
/// Exit codes with `--detailed-exitcodes`: 0 nothing changed, 2 something did, 4 and 6 resources failed, 1 there was no
/// run.
fn judge(what: &str, ended: &Ended, results: &Results, copies: &Copies) -> Result<(), StepError> {
    let failed = |how: String| {
        let output = copies.text(&last_lines(&ended.tail));
        StepError::Command { how, tries: String::new(), output }
    };
    let code = match &ended.exit {
        Ok(code) => *code,
        Err(how) => return Err(failed(how.clone())),
    };
    let success = [0, 2].contains(&code);
    let contradiction = results.contradiction(success).or_else(|| {
        let changed = results.counts.changed;
        (success && (code == 2) != (changed > 0)).then(|| {
            format!("it ended with exit code {code}, and counts {changed} changed resources")
        })
    });
    if success {
        return contradiction.map_or(Ok(()), |why| Err(failed(unknown(&why))));
    }
    // A run that did not begin has no results.
    let why = contradiction.filter(|_| [4, 6].contains(&code));
    Err(match (&results.failed, why, first_error(&ended.tail)) {
        (_, Some(why), _) => failed(unknown(&why)),
        (Some(resource), ..) => StepError::Resource(resource.clone()),
        (None, None, Some(error)) => failed(copies.text(&error)),
        (None, None, None) => failed(format!("`{what}` ended with exit code {code}")),
    })
}

fn unknown(why: &str) -> String {
    format!("what it did is unknown: {why}")
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

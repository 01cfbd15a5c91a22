//! Running imgbake.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;

use super::timeline::Timeline;
use super::{commands, files};
use crate::Result;

/// An imgbake with a home.
pub(super) struct Imgbake {
    /// The program.
    pub(super) binary: PathBuf,
    /// Where its registry and its layers are.
    pub(super) home: PathBuf,
}

/// One build.
pub(super) struct Run {
    /// Seconds from the process' start to its end.
    pub(super) wall: f64,
    /// What its events say.
    pub(super) reported: Timeline,
}

/// One layer, as `imgbake cache ls --json` lists it.
#[derive(Deserialize)]
pub(super) struct Layer {
    /// The step's name.
    pub(super) name: String,
    /// When it was made: RFC 3339, in UTC.
    pub(super) created: String,
    /// Bytes that its disk takes.
    pub(super) disk_bytes: u64,
    /// Bytes that the machine's state takes.
    pub(super) state_bytes: u64,
}

impl Imgbake {
    /// The program with its home, without a command yet.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--home").arg(&self.home).args(["--progress", "plain"]);
        command
    }

    /// Builds a template. Its events stay beside it, under the name of the kind of run.
    pub(super) fn build(&self, template: &Path, kind: &str, arguments: &[&str]) -> Result<Run> {
        Ok(self.run("build", template, kind, arguments)?.0)
    }

    /// Runs the steps of a template, and those again that are to converge; gives what it prints, too.
    pub(super) fn converge(&self, template: &Path, kind: &str) -> Result<(Run, String)> {
        self.run("converge", template, kind, &["--json"])
    }

    fn run(
        &self,
        what: &str,
        template: &Path,
        kind: &str,
        arguments: &[&str],
    ) -> Result<(Run, String)> {
        let events = template.with_extension(format!("{kind}.jsonl"));
        files::remove_file(&events)?;
        let mut command = self.command();
        command.arg(what).arg(template).args(arguments).arg("--events").arg(&events);
        let started = Instant::now();
        let printed = commands::output(&mut command)?;
        let wall = started.elapsed().as_secs_f64();
        let reported = Timeline::read(&fs::read_to_string(&events)?)?;
        Ok((Run { wall, reported }, printed))
    }

    /// The layers in its home, the oldest first.
    pub(super) fn layers(&self) -> Result<Vec<Layer>> {
        let text = commands::output(self.command().args(["cache", "ls", "--json"]))?;
        let mut layers: Vec<Layer> = serde_json::from_str(&text)?;
        layers.sort_by(|a, b| a.created.cmp(&b.created));
        Ok(layers)
    }
}

//! Running other programs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;

/// Runs a command; gives its standard output. The rest of what it says matters only if it fails.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        format!("{program}: {error} (`./dev bench NAME` installs what a bench needs)")
    })?;
    let out = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(out.into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed ({}):\n{out}{words}", output.status).into())
}

/// Runs a command; gives the seconds from its start to its end.
pub(super) fn seconds(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    output(command)?;
    Ok(started.elapsed().as_secs_f64())
}

/// The first line that a program says of its version.
pub(super) fn version(program: &Path, argument: &str) -> Result<String> {
    let text = output(Command::new(program).arg(argument))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

//! Programs of this host that run as part of a step, or look at what it names before there is a machine.

use std::time::Duration;

use imgbake_build::StepContext;
use imgbake_runtime::{Command, Job, Tail, Tool};
use imgbake_types::Span;

use crate::error::StepError;
use crate::guest::{Ended, NOT_YAML};

/// How long a program may look at files of this host.
const LOOK: Duration = Duration::from_secs(60);

const PYTHON: Tool = Tool::new("python3", "python3");
/// Reads YAML from standard input; says nothing where there is no reader of it.
const READ_YAML: &str = "import sys
try:
    import yaml
except ImportError:
    sys.exit(0)
try:
    yaml.safe_load(sys.stdin.buffer)
except yaml.YAMLError as error:
    print(error, file=sys.stderr)
    sys.exit(65)
";

/// What a look showed.
#[derive(Debug)]
pub(crate) enum Look {
    /// It found nothing wrong.
    Good,
    /// It ended with a code that is not 0, and printed this.
    Bad(i32, String),
    /// It did not judge: why, as text.
    Unknown(String),
}

/// Runs a program that looks at files of this host.
pub(crate) async fn look(job: &Job, command: Command) -> Result<Look, StepError> {
    look_for(job, command, LOOK).await
}

async fn look_for(job: &Job, command: Command, limit: Duration) -> Result<Look, StepError> {
    let Ok(output) = tokio::time::timeout(limit, command.output(job)).await else {
        let why = format!("it timed out after {}s and was ended", limit.as_secs());
        return Ok(Look::Unknown(why));
    };
    let output = output?;
    Ok(match output.status.code() {
        Some(0) => Look::Good,
        Some(code) => Look::Bad(code, output.stderr.trim().to_owned()),
        None => Look::Unknown(format!("it ended with {}", output.status)),
    })
}

/// Why a text is no YAML, where this host can read it.
pub(crate) async fn not_yaml(job: &Job, text: &str) -> Result<Option<String>, StepError> {
    let Ok(command) = PYTHON.command() else { return Ok(None) };
    let command = command.args(["-c", READ_YAML]).stdin(text);
    Ok(match look(job, command).await? {
        Look::Bad(NOT_YAML, words) => Some(words),
        _ => None,
    })
}

/// Runs a program as part of a step; its output is the step's.
pub(crate) async fn run(
    context: &StepContext<'_>,
    command: Command,
    limit: Span,
) -> Result<Ended, StepError> {
    let mut tail = Tail::default();
    let running = command.stream(context.job, |stream, line| {
        context.recorder.output(stream, &line);
        tail.push(stream, line);
    });
    let ended = tokio::time::timeout(limit.duration(), running).await;
    let exit = match ended {
        Err(_) => Err(format!("it timed out after {limit} and was ended")),
        Ok(status) => {
            let status = status?;
            status.code().ok_or_else(|| format!("it ended with {status}"))
        }
    };
    if let Ok(code) = exit {
        context.recorder.exit_code(code);
    }
    Ok(Ended { exit, tail })
}

#[cfg(test)]
mod tests {
    use imgbake_runtime::{Cancel, Events, Home, Secrets};

    use super::*;

    #[tokio::test]
    async fn a_look_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home").to_str().unwrap());
        let (events, _listener) = Events::channel("test", Secrets::default());
        let job = Job::begin(&home, "test", Cancel::new(), events, Secrets::default()).unwrap();
        let sh = |script: &str| Command::new("/bin/sh").args(["-c", script]);
        assert!(matches!(look(&job, sh("true")).await, Ok(Look::Good)));
        let Ok(Look::Bad(3, printed)) = look(&job, sh("echo no >&2; exit 3")).await else {
            panic!("it ends with 3");
        };
        assert_eq!(printed, "no");
        for (script, part) in [("sleep 4249.31", "timed out after 1s"), ("kill -9 $$", "signal")] {
            let looked = look_for(&job, sh(script), Duration::from_secs(1)).await;
            let Ok(Look::Unknown(why)) = looked else { panic!("{looked:?}") };
            assert!(why.contains(part), "{why}");
        }
    }
}

//! Runs a shell step.

use std::time::Duration;

use async_trait::async_trait;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::{CommErrorKind, Exec, Exit};
use imgbake_runtime::retry::Backoff;
use imgbake_runtime::{CommandOutput, Tail};
use imgbake_types::Span;
use imgbake_types::event::Stream;
use imgbake_types::spec::ProvisionerKind;

use super::script::Script;
use super::spec::{Reboot, ShellSpec};
use crate::error::{StepError, last_lines};
use crate::guest::run_id;

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Runs shell steps.
#[derive(Debug, Clone, Copy)]
pub struct Shell;

/// How one try ended.
enum Tried {
    Done(StepEnd),
    /// It failed: how, and the last lines of its output.
    Failed(String, Tail),
}

impl Shell {
    /// The kind: `type = "shell"`.
    pub const KIND: ProvisionerKind =
        ProvisionerKind::of::<ShellSpec>("shell", "Runs a script or commands.");
}

#[async_trait]
impl Provisioner for Shell {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: ShellSpec = context.settings()?;
        run(context, &spec).await.map_err(|error| error.of(context.name))
    }
}

async fn run(context: &StepContext<'_>, spec: &ShellSpec) -> Result<StepEnd, StepError> {
    let script = Script::load(context.job.secrets(), spec).await?;
    let attempts = spec.retry.map_or(1, |retry| retry.attempts.max(1));
    let first =
        spec.retry.and_then(|retry| retry.backoff).map_or(Duration::from_secs(1), Span::duration);
    let mut backoff = Backoff::new(first, LONGEST_WAIT);
    let mut attempt = 1;
    loop {
        match one_try(context, spec, &script).await? {
            Tried::Done(end) => return Ok(end),
            Tried::Failed(how, tail) if attempt >= attempts => {
                return Err(failed(how, attempt, &tail));
            }
            Tried::Failed(how, _) => {
                let again = format!("{how} at try {attempt} of {attempts}; trying again");
                context.recorder.warn(&again);
            }
        }
        context.job.cancel().run(backoff.wait()).await?;
        attempt += 1;
        context.recorder.next_attempt();
    }
}

async fn one_try(
    context: &StepContext<'_>,
    spec: &ShellSpec,
    script: &Script,
) -> Result<Tried, StepError> {
    let recorder = context.recorder;
    let mut output = CommandOutput::new(context.job.secrets(), |stream, line: &str| {
        recorder.output(stream, line);
    });
    recorder.moved(script.bytes());
    let command =
        context.comm.as_user(spec.user(), &script.runner(spec.workdir(), &run_id(context), ""));
    let exec = Exec::new(command).stdin(script.payload()).timeout(spec.timeout().duration());
    let mut sink = |stream: Stream, bytes: &[u8]| output.take(stream, bytes);
    let ended = context.job.cancel().run(context.comm.run(exec, &mut sink)).await?;
    let tail = output.finish();
    if let Ok(Exit::Code(code)) = &ended {
        recorder.exit_code(*code);
    }
    match ended {
        Ok(exit) => judge(spec, &exit, tail),
        Err(error) if error.kind() == CommErrorKind::TimedOut => {
            Ok(Tried::Failed(format!("it timed out after {} and was ended", spec.timeout()), tail))
        }
        Err(error) => Err(error.into()),
    }
}

/// What a command's end means for the step.
fn judge(spec: &ShellSpec, exit: &Exit, tail: Tail) -> Result<Tried, StepError> {
    let restarts = spec.reboot == Reboot::Expected;
    match exit {
        _ if restarts && goes_down(exit) => Ok(Tried::Done(StepEnd::Restarting)),
        Exit::Code(code) if spec.exit_codes().contains(code) => {
            Ok(Tried::Done(if restarts { StepEnd::Restarting } else { StepEnd::Running }))
        }
        Exit::Lost => Err(StepError::Lost { output: last_lines(&tail) }),
        other => Ok(Tried::Failed(format!("it ended with {other}{}", accepted(spec)), tail)),
    }
}

/// Whether a command can have ended so because the machine goes down: first its processes are
/// terminated, then the connection.
fn goes_down(exit: &Exit) -> bool {
    match exit {
        Exit::Lost => true,
        Exit::Signal(name) => ["TERM", "KILL", "HUP", "PIPE"].contains(&name.as_str()),
        // 128 and the signal's number, as a shell reports it.
        Exit::Code(code) => [128 + 1, 128 + 9, 128 + 13, 128 + 15].contains(code),
    }
}

/// Names the accepted exit codes where the author set them.
fn accepted(spec: &ShellSpec) -> String {
    let Some(codes) = &spec.exit_codes else { return String::new() };
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    format!(" (accepted: {})", codes.join(", "))
}

fn failed(how: String, tries: u32, tail: &Tail) -> StepError {
    let tries = if tries > 1 { format!(", after {tries} tries") } else { String::new() };
    StepError::Command { how, tries, output: last_lines(tail) }
}

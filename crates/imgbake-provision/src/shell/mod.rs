//! `type = "shell"`: runs a script or commands in the machine.

mod script;

use std::time::Duration;

use async_trait::async_trait;
use imgbake_build::{BuildError, BuildErrorKind, Provisioner, StepContext, StepEnd};
use imgbake_comm::{CommErrorKind, Exec, Exit};
use imgbake_runtime::LineRedactor;
use imgbake_runtime::process::Tail;
use imgbake_runtime::retry::Backoff;
use imgbake_types::Span;
use imgbake_types::event::Stream;
use imgbake_types::spec::{ProvisionSpec, Reboot, ShellSpec};

use crate::in_step;
use script::Script;

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

#[async_trait]
impl Provisioner for Shell {
    fn knows(&self, spec: &ProvisionSpec) -> bool {
        matches!(spec, ProvisionSpec::Shell(_))
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<(StepEnd, u64), BuildError> {
        let ProvisionSpec::Shell(spec) = context.spec else {
            return Err(crate::usage(context.name, "it is no shell step"));
        };
        let script = Script::load(context, spec).await?;
        let attempts = spec.retry.map_or(1, |retry| retry.attempts.max(1));
        let first = spec
            .retry
            .and_then(|retry| retry.backoff)
            .map_or(Duration::from_secs(1), Span::duration);
        let mut backoff = Backoff::new(first, LONGEST_WAIT);
        let mut attempt = 1;
        loop {
            match one_try(context, spec, &script).await? {
                Tried::Done(end) => return Ok((end, script.bytes())),
                Tried::Failed(how, tail) if attempt >= attempts => {
                    return Err(failed(context.name, &how, attempt, &tail));
                }
                Tried::Failed(how, _) => {
                    let text = format!(
                        "step `{}`: {how} at try {attempt} of {attempts}; trying again",
                        context.name
                    );
                    context.job.events().warn(text);
                }
            }
            context.job.cancel().run(backoff.wait()).await?;
            attempt += 1;
        }
    }
}

async fn one_try(
    context: &StepContext<'_>,
    spec: &ShellSpec,
    script: &Script,
) -> Result<Tried, BuildError> {
    let mut output = Output::new(context);
    let command = context.comm.as_user(spec.user(), &script.runner(spec.workdir()));
    let exec = Exec::new(command).stdin(script.payload()).timeout(spec.timeout().duration());
    let mut sink = |stream: Stream, bytes: &[u8]| output.take(stream, bytes);
    let ended = context.job.cancel().run(context.comm.run(exec, &mut sink)).await?;
    let tail = output.finish();
    match ended {
        Ok(exit) => judge(context.name, spec, &exit, tail),
        Err(error) if error.kind() == CommErrorKind::TimedOut => Ok(Tried::Failed(
            format!("it was not done after {} and was ended", spec.timeout()),
            tail,
        )),
        Err(error) => Err(in_step(context.name, error)),
    }
}

/// What a command's end means for the step.
fn judge(name: &str, spec: &ShellSpec, exit: &Exit, tail: Tail) -> Result<Tried, BuildError> {
    let restarts = spec.reboot == Reboot::Expected;
    match exit {
        _ if restarts && goes_down(exit) => Ok(Tried::Done(StepEnd::Restarting)),
        Exit::Code(code) if spec.exit_codes().contains(code) => {
            Ok(Tried::Done(if restarts { StepEnd::Restarting } else { StepEnd::Running }))
        }
        Exit::Lost => {
            let text = format!(
                "step `{name}`: the connection to the machine was lost while it ran{}",
                last(&tail)
            );
            Err(BuildError::new(BuildErrorKind::Machine, text)
                .help("If the step restarts the machine, say so in it: reboot = \"expected\"."))
        }
        other => Ok(Tried::Failed(format!("it ended with {other}{}", accepted(spec)), tail)),
    }
}

/// Whether a command can have ended so because the machine goes down: first its processes are
/// terminated, then the connection.
fn goes_down(exit: &Exit) -> bool {
    match exit {
        Exit::Lost => true,
        Exit::Signal(name) => ["TERM", "KILL", "HUP", "PIPE"].contains(&name.as_str()),
        // 128 and the signal's number, as a shell tells it.
        Exit::Code(code) => [128 + 1, 128 + 9, 128 + 13, 128 + 15].contains(code),
    }
}

/// Names the accepted exit codes where the author set them.
fn accepted(spec: &ShellSpec) -> String {
    let Some(codes) = &spec.exit_codes else { return String::new() };
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    format!(" (accepted: {})", codes.join(", "))
}

fn failed(name: &str, how: &str, tries: u32, tail: &Tail) -> BuildError {
    let tries = if tries > 1 { format!(", after {tries} tries") } else { String::new() };
    BuildError::failed(format!("step `{name}`: {how}{tries}{}", last(tail)))
}

/// The last lines of a step's output, for an error.
fn last(tail: &Tail) -> String {
    let text = tail.text();
    if text.is_empty() {
        "; it printed nothing".to_owned()
    } else {
        format!("; its last lines:\n{text}")
    }
}

/// Tells a step's output line by line, redacted, and keeps its last lines.
struct Output<'a> {
    context: &'a StepContext<'a>,
    stdout: LineRedactor,
    stderr: LineRedactor,
    tail: Tail,
}

impl<'a> Output<'a> {
    fn new(context: &'a StepContext<'a>) -> Self {
        let lines = || LineRedactor::new(context.job.secrets().clone());
        Self { context, stdout: lines(), stderr: lines(), tail: Tail::default() }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let lines = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        for line in lines.push(bytes) {
            self.tell(stream, line);
        }
    }

    fn tell(&mut self, stream: Stream, line: String) {
        self.context.job.events().output(self.context.name, stream, line.clone());
        self.tail.push(line);
    }

    fn finish(mut self) -> Tail {
        let ends = [(Stream::Stdout, self.stdout.finish()), (Stream::Stderr, self.stderr.finish())];
        for (stream, line) in ends {
            if let Some(line) = line {
                self.tell(stream, line);
            }
        }
        self.tail
    }
}

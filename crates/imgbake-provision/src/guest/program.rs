//! One program in the machine.

use std::collections::BTreeMap;

use imgbake_build::StepContext;
use imgbake_comm::shell::quote;
use imgbake_comm::{CommErrorKind, Exec, Exit};
use imgbake_runtime::{CommandOutput, Tail};
use imgbake_types::Span;
use imgbake_types::event::Stream;
use uuid::Uuid;

use super::files::{folder_path, run_id};
use crate::error::{StepError, last_lines};
use crate::shell::{Script, ShellSpec};

/// A longer line is no result.
const MOST_LINE: usize = 8 << 20;

/// A script for the machine's `/bin/sh -e`, run by root.
pub(crate) struct Program {
    /// The script. What it prints after `$mark` to the end of the line of standard output is a result; the rest is
    /// shown.
    pub(crate) script: String,
    /// Environment variables; sensitive values are put in here.
    pub(crate) env: BTreeMap<String, String>,
    /// How long it may take.
    pub(crate) timeout: Span,
}

/// A shell's lines that give variables their values, for the beginning of a script.
pub(crate) fn assignments(values: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| {
        [(*name).to_owned(), "=".to_owned(), quote(value), "\n".to_owned()]
    };
    values.iter().flat_map(line).collect()
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; where it has none, how it ended.
    pub(crate) exit: Result<i32, String>,
    /// The end of its output.
    pub(crate) tail: Tail,
}

impl Ended {
    /// The error of a program that ended so.
    pub(crate) fn error(&self, how: &str) -> StepError {
        let output = last_lines(&self.tail);
        StepError::Command { how: how.to_owned(), tries: String::new(), output }
    }

    /// The error of a program whose results are no proof.
    pub(crate) fn unknown(&self, why: &str) -> StepError {
        let code = match self.exit {
            Ok(code) if code != 0 => format!(" (exit code {code})"),
            _ => String::new(),
        };
        self.error(&format!("what it did is unknown: {why}{code}"))
    }
}

impl Program {
    /// Runs it. Each result goes to `take` as it comes, as the program wrote it.
    pub(crate) async fn run(
        self,
        context: &StepContext<'_>,
        take: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Ended, StepError> {
        let ended = self.prepare(context, take).await?;
        if let Ok(code) = ended.exit {
            context.recorder.exit_code(code);
        }
        Ok(ended)
    }

    /// Runs it before what the step is there for: its exit code is not the step's.
    pub(crate) async fn prepare(
        self,
        context: &StepContext<'_>,
        take: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Ended, StepError> {
        let recorder = context.recorder;
        // Nobody who writes to the same output knows it.
        let mark = format!("imgbake-{} ", Uuid::new_v4().simple());
        let spec = ShellSpec {
            inline: Some(vec![format!("mark='{mark}'\n{}", self.script)]),
            interpreter: Some(["/bin/sh", "-e"].map(str::to_owned).to_vec()),
            env: self.env,
            ..ShellSpec::default()
        };
        let script = Script::load(context.job.secrets(), &spec).await?;
        // A cancelled job does not wait for its steps: the machine removes it then.
        let folder = folder_path(context);
        recorder.moved(script.bytes());
        let command = context
            .comm
            .as_user(spec.user(), &script.runner(spec.workdir(), &run_id(context), &folder));
        let exec = Exec::new(command).stdin(script.payload()).timeout(self.timeout.duration());
        let mut output = CommandOutput::new(context.job.secrets(), |stream, line: &str| {
            recorder.output(stream, line);
        });
        let mut split = Split::new(&mark);
        let mut sink = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Stdout => split.take(bytes, take, &mut |rest| output.take(stream, rest)),
            Stream::Stderr | Stream::Console => output.take(stream, bytes),
        };
        let ended = context.job.cancel().run(context.comm.run(exec, &mut sink)).await?;
        split.finish(take, &mut |rest| output.take(Stream::Stdout, rest));
        let tail = output.finish();
        let exit = match ended {
            Ok(Exit::Code(code)) => Ok(code),
            Ok(Exit::Lost) => return Err(StepError::Lost { output: last_lines(&tail) }),
            Ok(other) => Err(format!("it ended with {other}")),
            Err(error) if error.kind() == CommErrorKind::TimedOut => {
                Err(format!("it timed out after {} and was ended", self.timeout))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Ended { exit, tail })
    }
}

/// Separates results from the rest of an output. A result begins with the mark, wherever that is in a line: the
/// output before it may have had no line end.
struct Split {
    mark: Vec<u8>,
    /// What is not passed on yet: a result without its end, or what may be the beginning of a mark.
    held: Vec<u8>,
    state: State,
}

/// What the output is at.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The beginning of a line.
    LineStart,
    /// A line that is no result.
    Other,
    /// A result, after its mark.
    Result,
    /// A result that is too long: nothing of it is kept.
    TooLong,
}

impl Split {
    fn new(mark: &str) -> Self {
        Self { mark: mark.as_bytes().to_vec(), held: Vec::new(), state: State::LineStart }
    }

    fn take(&mut self, bytes: &[u8], result: &mut dyn FnMut(&str), rest: &mut dyn FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.state != State::TooLong {
                self.held.extend_from_slice(part);
            }
            if matches!(self.state, State::LineStart | State::Other) {
                self.pass(ends, rest);
            }
            if self.state == State::Result && !ends && self.held.len() > MOST_LINE {
                self.held.clear();
                self.state = State::TooLong;
            }
            if ends {
                match self.state {
                    State::Result => result(String::from_utf8_lossy(&self.held).trim_end()),
                    // It cannot be read, and must not be missed.
                    State::TooLong => result(""),
                    State::LineStart | State::Other => {}
                }
                self.held.clear();
                self.state = State::LineStart;
            }
        }
    }

    /// Passes on what is no result, up to a mark or what may become one.
    fn pass(&mut self, ends: bool, rest: &mut dyn FnMut(&[u8])) {
        let mark = self.held.windows(self.mark.len()).position(|window| window == self.mark);
        let keep = match mark {
            Some(_) => 0,
            None if ends => 0,
            None => self.begun_mark(),
        };
        let until = mark.unwrap_or(self.held.len() - keep);
        if until > 0 {
            rest(&self.held[..until]);
            self.state = State::Other;
        }
        self.held.drain(..until);
        if mark.is_some() {
            if self.state == State::Other {
                rest(b"\n");
            }
            self.held.drain(..self.mark.len());
            self.state = State::Result;
        }
    }

    /// How many of the last bytes may be the beginning of a mark.
    fn begun_mark(&self) -> usize {
        let longest = self.held.len().min(self.mark.len() - 1);
        (0..=longest).rev().find(|len| self.held.ends_with(&self.mark[..*len])).unwrap_or(0)
    }

    /// The output is at its end: so is a line that nothing ended.
    fn finish(self, result: &mut dyn FnMut(&str), rest: &mut dyn FnMut(&[u8])) {
        match self.state {
            State::Result => result(&String::from_utf8_lossy(&self.held)),
            State::TooLong => result(""),
            State::LineStart | State::Other if self.held.is_empty() => {}
            State::LineStart | State::Other => rest(&self.held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results and the rest of an output that comes in pieces of `size` bytes.
    fn split(output: &[u8], size: usize) -> (Vec<String>, String) {
        let (mut results, mut rest) = (Vec::new(), Vec::new());
        let mut split = Split::new("mark ");
        let mut result = |line: &str| results.push(line.to_owned());
        for piece in output.chunks(size) {
            split.take(piece, &mut result, &mut |bytes| rest.extend_from_slice(bytes));
        }
        split.finish(&mut result, &mut |bytes| rest.extend_from_slice(bytes));
        (results, String::from_utf8(rest).unwrap())
    }

    #[test]
    fn results_are_separated_from_the_rest_however_they_come() {
        for (output, results, rest) in [
            ("", &[][..], ""),
            ("a\nmark {1}\nb\n", &["{1}"], "a\nb\n"),
            ("mark {1}\nmark {2}\r\n", &["{1}", "{2}"], ""),
            ("mar\nmarks\nma", &[], "mar\nmarks\nma"),
            // What a command printed before it had no line end.
            ("x mark {1}\ny", &["{1}"], "x \ny"),
            ("mamark {1}\nmark {2}", &["{1}", "{2}"], "ma\n"),
            // A result that is cut is one that cannot be read.
            ("mark {\"na", &["{\"na"], ""),
        ] {
            for size in [1, 2, 3, 7, 100] {
                let (found, others) = split(output.as_bytes(), size);
                assert_eq!(
                    (found.as_slice(), others.as_str()),
                    (&results.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..], rest),
                    "{output:?} by {size}"
                );
            }
        }
    }

    #[test]
    fn a_result_without_an_end_is_bounded_and_reported() {
        let long = [b"mark ".as_slice(), &vec![b'x'; MOST_LINE * 2], b"\nmark {}\nrest\n"].concat();
        let (results, rest) = split(&long, 64 << 10);
        assert_eq!((results, rest.as_str()), (vec![String::new(), "{}".to_owned()], "rest\n"));
    }
}

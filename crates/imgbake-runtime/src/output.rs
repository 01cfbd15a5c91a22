//! What a command prints: redacted line by line, handed on, and its end kept.

use std::collections::VecDeque;

use imgbake_types::event::Stream;
use imgbake_types::record::step::{OutputLine, OutputTail};

use crate::{LineRedactor, Secrets};

/// The two outputs of a command on their way to whoever takes lines. Feed it with
/// [`CommandOutput::take`], and [`CommandOutput::finish`] it when the command ended.
pub struct CommandOutput<F> {
    stdout: LineRedactor,
    stderr: LineRedactor,
    tail: Tail,
    sink: F,
}

impl<F> std::fmt::Debug for CommandOutput<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandOutput").finish_non_exhaustive()
    }
}

impl<F: FnMut(Stream, &str)> CommandOutput<F> {
    /// An output whose redacted lines go to `sink`, each when it is whole.
    pub fn new(secrets: &Secrets, sink: F) -> Self {
        let lines = || LineRedactor::new(secrets.clone());
        Self { stdout: lines(), stderr: lines(), tail: Tail::default(), sink }
    }

    /// Takes what the command wrote.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let lines = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        for line in lines.push(bytes) {
            self.line(stream, line);
        }
    }

    /// Hands on the lines that nothing ended; gives the last ones.
    pub fn finish(mut self) -> Tail {
        let ends = [(Stream::Stdout, self.stdout.finish()), (Stream::Stderr, self.stderr.finish())];
        for (stream, line) in ends {
            if let Some(line) = line {
                self.line(stream, line);
            }
        }
        self.tail
    }

    fn line(&mut self, stream: Stream, line: String) {
        (self.sink)(stream, &line);
        self.tail.push(stream, line);
    }
}

/// The last lines of an output: as many as fit in [`Tail::MAX`].
#[derive(Debug, Clone, Default)]
pub struct Tail {
    omitted: u64,
    lines: VecDeque<OutputLine>,
    cost: usize,
}

impl Tail {
    /// What is kept, in bytes of a JSON document, about.
    pub const MAX: usize = 64 * 1024;
    /// Lines that an error message shows.
    const SHOWN: usize = 20;
    /// Characters that are kept of one line.
    const LINE: usize = 4096;

    /// Adds a line; the oldest go when there is too much.
    pub fn push(&mut self, stream: Stream, mut line: String) {
        if let Some((end, _)) = line.char_indices().nth(Self::LINE) {
            line.truncate(end);
            line.push('…');
        }
        let line = OutputLine { stream, line };
        self.cost += cost(&line);
        self.lines.push_back(line);
        while self.cost > Self::MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.cost -= cost(&oldest);
            self.omitted += 1;
        }
    }

    /// The last lines as one text, for an error message.
    pub fn text(&self) -> String {
        let first = self.lines.len().saturating_sub(Self::SHOWN);
        self.lines.range(first..).map(|line| line.line.as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl From<Tail> for OutputTail {
    fn from(tail: Tail) -> Self {
        Self { omitted: tail.omitted, lines: tail.lines.into() }
    }
}

/// A control character takes six bytes in JSON.
fn cost(line: &OutputLine) -> usize {
    16 + line.line.bytes().map(|byte| if byte < 0x20 { 6 } else { 1 }).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_of_an_endless_output() {
        let mut tail = Tail::default();
        for number in 0..100_000 {
            tail.push(Stream::Stdout, format!("line {number}\u{1}"));
        }
        assert!(tail.text().ends_with("line 99998\u{1}\nline 99999\u{1}"));
        assert_eq!(tail.text().lines().count(), Tail::SHOWN);
        // An output that is one line still has an end.
        let mut long = Tail::default();
        long.push(Stream::Stderr, "\u{1}".repeat(100 * Tail::MAX));
        assert_eq!(long.text().chars().count(), Tail::LINE + 1);
        let kept = OutputTail::from(tail);
        assert_eq!(kept.omitted + kept.lines.len() as u64, 100_000);
        let json = serde_json::to_string(&kept).unwrap();
        assert!(json.len() < 4 * Tail::MAX, "{}", json.len());
    }

    #[test]
    fn lines_of_both_streams_are_handed_on_redacted() {
        let secrets = Secrets::default();
        secrets.add("t", "hunter2hunter2");
        let mut seen = Vec::new();
        let mut output =
            CommandOutput::new(&secrets, |stream, line: &str| seen.push((stream, line.to_owned())));
        output.take(Stream::Stdout, b"say hunter2");
        output.take(Stream::Stderr, b"oops\n");
        output.take(Stream::Stdout, b"hunter2\nrest");
        assert_eq!(output.finish().text(), "oops\nsay ***\nrest");
        let streams: Vec<Stream> = seen.iter().map(|(stream, _)| *stream).collect();
        assert_eq!(streams, [Stream::Stderr, Stream::Stdout, Stream::Stdout]);
    }
}

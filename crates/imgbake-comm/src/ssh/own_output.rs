//! A command's own output, apart from what the login's shell printed before it.
//!
//! OpenSSH runs every command by the login's shell, and bash reads `~/.bashrc` even then: what that prints
//! must not become part of a file that is downloaded. So each command first prints a mark on both streams.

use imgbake_types::event::Stream;

use crate::exec::OutputSink;

/// Bytes kept of what comes before the mark: its last ones, for a command that never ran.
const MOST: usize = 16 << 10;

/// Separates a command's output from what came before it.
pub(super) struct OwnOutput<'a> {
    mark: String,
    /// What came of each stream before its mark; `None` once it came.
    before: [Option<Vec<u8>>; 2],
    sink: OutputSink<'a>,
}

impl<'a> OwnOutput<'a> {
    pub(super) fn new(sink: OutputSink<'a>) -> Self {
        let mark = format!("imgbake:{:032x}\n", rand::random::<u128>());
        Self { mark, before: [Some(Vec::new()), Some(Vec::new())], sink }
    }

    /// The command line that prints the mark before the command runs.
    pub(super) fn command(&self, command: &str) -> String {
        let mark = self.mark.trim_end();
        format!("echo {mark}; echo {mark} >&2; {command}")
    }

    /// Takes output of the channel, and hands on what is the command's.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let before = &mut self.before[usize::from(stream == Stream::Stderr)];
        let Some(held) = before else { return (self.sink)(stream, bytes) };
        held.extend_from_slice(bytes);
        let mark = self.mark.as_bytes();
        let Some(at) = held.windows(mark.len()).position(|window| window == mark) else {
            let surplus = held.len().saturating_sub(MOST);
            held.drain(..surplus);
            return;
        };
        let own = held.split_off(at + mark.len());
        *before = None;
        if !own.is_empty() {
            (self.sink)(stream, &own);
        }
    }

    /// Where the command never ran, what the shell said instead: why.
    pub(super) fn end(&mut self) {
        for (before, stream) in self.before.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            if let Some(said) = before.take().filter(|said| !said.is_empty()) {
                (self.sink)(stream, &said);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_mark_is_not_the_commands() {
        // Cut at every place: the mark may come in pieces.
        for cut in 0..80 {
            let mut got = Vec::new();
            let mut sink = |stream: Stream, bytes: &[u8]| got.push((stream, bytes.to_vec()));
            let mut own = OwnOutput::new(&mut sink);
            let text = format!("Welcome\n{}data\n", own.mark);
            let (first, second) = text.split_at(cut.min(text.len()));
            own.take(Stream::Stdout, first.as_bytes());
            own.take(Stream::Stdout, second.as_bytes());
            own.take(Stream::Stderr, b"not found\n");
            own.end();
            let of = |stream| {
                let pieces = got.iter().filter(|piece| piece.0 == stream);
                pieces.flat_map(|piece| piece.1.clone()).collect::<Vec<u8>>()
            };
            assert_eq!(of(Stream::Stdout), b"data\n", "{cut}");
            // No mark came: that is why the command did not run.
            assert_eq!(of(Stream::Stderr), b"not found\n", "{cut}");
        }
    }

    #[test]
    fn a_shell_that_never_ends_its_greeting_takes_no_memory() {
        let (mut count, mut own_bytes) = (0, 0);
        let mut sink = |_: Stream, bytes: &[u8]| own_bytes += bytes.len();
        let mut own = OwnOutput::new(&mut sink);
        while count < 100 {
            own.take(Stream::Stdout, &[b'x'; 10_000]);
            count += 1;
        }
        assert!(own.before[0].as_ref().is_some_and(|held| held.len() <= MOST));
        own.end();
        assert!(own_bytes <= MOST);
    }
}

//! A command's own output and input, apart from what the login's shell does with them.
//!
//! OpenSSH runs every command by the login's shell, and bash reads `~/.bashrc` even then. What that prints, before
//! the command, at its end (`trap … EXIT`) or beside it (a `ForceCommand` that wraps it), must not become part of a
//! file that is downloaded; and what it reads must not be missing from a script or an archive. So the login's shell
//! gives way to a plain one (`exec`), which prints a mark on both streams before the command and another after it,
//! and first reads a mark from the standard input where there is one.

use imgbake_types::event::Stream;

use crate::exec::OutputSink;
use crate::shell::quote;

/// Bytes kept of what comes before the mark: its last ones, for a command that never ran.
const MOST: usize = 16 << 10;
/// What the mark after a command begins with: a byte that few outputs hold (ASCII, "record separator").
const SEPARATOR: u8 = 0x1e;

/// What of a stream has come.
enum Part {
    /// What is before the command's own output.
    Before(Vec<u8>),
    /// The command's own output; held are its last bytes, which may begin the mark after it.
    Own(Vec<u8>),
    /// The mark after it: what follows is not the command's.
    After,
}

/// Separates a command's output from what is around it.
pub(super) struct OwnOutput<'a> {
    start: String,
    end: Vec<u8>,
    parts: [Part; 2],
    sink: OutputSink<'a>,
}

impl<'a> OwnOutput<'a> {
    pub(super) fn new(sink: OutputSink<'a>) -> Self {
        let word = format!("imgbake:{:032x}", rand::random::<u128>());
        let end = [&[SEPARATOR], word.as_bytes(), b"\n"].concat();
        let parts = [Part::Before(Vec::new()), Part::Before(Vec::new())];
        Self { start: format!("{word}\n"), end, parts, sink }
    }

    /// The line that the command's standard input begins with, where it has one.
    pub(super) fn first_line(&self) -> &str {
        &self.start
    }

    /// The command line that prints the marks around the command.
    pub(super) fn command(&self, command: &str, has_input: bool) -> String {
        let word = self.start.trim_end();
        let reads = if has_input {
            format!(
                "IFS= read -r mark; [ \"$mark\" = {word} ] || {{\n\
                 echo 'imgbake: the login shell reads what is sent to commands (see its .bashrc or .profile)' >&2\n\
                 exit 125; }}; unset mark\n"
            )
        } else {
            String::new()
        };
        let script = format!(
            "{reads}echo {word}; echo {word} >&2\n({command}\n)\nset -- \"$?\"\n\
             printf '\\036{word}\\n'; printf '\\036{word}\\n' >&2\nexit \"$1\""
        );
        format!("exec /bin/sh -c {}", quote(&script))
    }

    /// Takes output of the channel, and hands on what is the command's.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let part = &mut self.parts[usize::from(stream == Stream::Stderr)];
        let own = match part {
            Part::After => return,
            Part::Own(held) if held.is_empty() => bytes.to_vec(),
            Part::Own(held) => [std::mem::take(held), bytes.to_vec()].concat(),
            Part::Before(held) => {
                held.extend_from_slice(bytes);
                let mark = self.start.as_bytes();
                let Some(at) = held.windows(mark.len()).position(|window| window == mark) else {
                    let surplus = held.len().saturating_sub(MOST);
                    held.drain(..surplus);
                    return;
                };
                held.split_off(at + mark.len())
            }
        };
        let (shown, next) = match until(&own, &self.end) {
            Until::Whole(at) => (at, Part::After),
            Until::Begun(at) => (at, Part::Own(own[at..].to_vec())),
        };
        *part = next;
        if shown > 0 {
            (self.sink)(stream, &own[..shown]);
        }
    }

    /// Hands on what is held: the end of a command that was cut; where it never ran, what the shell said instead.
    pub(super) fn end(&mut self) {
        for (part, stream) in self.parts.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            if let Part::Before(held) | Part::Own(held) = std::mem::replace(part, Part::After)
                && !held.is_empty()
            {
                (self.sink)(stream, &held);
            }
        }
    }
}

/// How far a text goes until a mark.
enum Until {
    /// The mark is there.
    Whole(usize),
    /// It is not there before this place, where it may begin: at the text's end it does not.
    Begun(usize),
}

fn until(text: &[u8], mark: &[u8]) -> Until {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == SEPARATOR) {
        let rest = &text[from + at..];
        if rest.starts_with(mark) {
            return Until::Whole(from + at);
        }
        if mark.starts_with(rest) {
            return Until::Begun(from + at);
        }
        from += at + 1;
    }
    Until::Begun(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command's streams are, in pieces that are cut at a place.
    fn own(out: &str, err: &str, cut: usize) -> (String, String) {
        let mut got = Vec::new();
        let mut sink = |stream: Stream, bytes: &[u8]| got.push((stream, bytes.to_vec()));
        let mut own = OwnOutput::new(&mut sink);
        let (start, end) = (own.start.clone(), String::from_utf8(own.end.clone()).unwrap());
        for (stream, text) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
            let text = text.replace("<start>", &start).replace("<end>", &end);
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            own.take(stream, first);
            own.take(stream, second);
        }
        own.end();
        let of = |stream| {
            let pieces = got.iter().filter(|piece| piece.0 == stream);
            String::from_utf8(pieces.flat_map(|piece| piece.1.clone()).collect()).unwrap()
        };
        (of(Stream::Stdout), of(Stream::Stderr))
    }

    #[test]
    fn what_is_around_the_marks_is_not_the_commands() {
        // Cut at every place: a mark may come in pieces.
        for cut in 0..150 {
            let around = "Welcome\n<start>da\u{1e}ta\u{1e}imgbake:<end>Agent killed\n";
            let (out, err) = own(around, "not found\n", cut);
            assert_eq!(out, "da\u{1e}ta\u{1e}imgbake:", "{cut}");
            // No mark came: that is why the command did not run.
            assert_eq!(err, "not found\n", "{cut}");
            // A command that was cut has no mark after it.
            assert_eq!(
                own("<start>data\u{1e}", "<start><end>x", cut),
                ("data\u{1e}".to_owned(), String::new())
            );
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
        assert!(matches!(&own.parts[0], Part::Before(held) if held.len() <= MOST));
        own.end();
        assert!(own_bytes <= MOST);
    }
}

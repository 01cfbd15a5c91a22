//! A machine's serial console: read live, redacted, its end kept.
//!
//! QEMU writes no console log of its own: a secret that a guest prints would be in it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use imgbake_runtime::{Job, LineRedactor};
use imgbake_types::event::Stream;
use imgbake_types::terminal::escape_len;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Bytes of text that are kept.
const KEPT: usize = 1 << 20;

/// After this silence, a line that nothing ended is shown as it is: a prompt.
const SETTLED: Duration = Duration::from_millis(500);

/// What Linux prints when its kernel cannot go on (`kernel/panic.c`).
const PANIC: &str = "Kernel panic - not syncing";

/// A console's text. Clones show the same console.
#[derive(Debug, Clone)]
pub(crate) struct Console(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    lines: VecDeque<String>,
    bytes: usize,
    redactor: LineRedactor,
    heard: Instant,
    log: Option<File>,
}

impl Console {
    /// An empty console whose lines are also written to a file.
    pub(crate) fn new(redactor: LineRedactor, log: Option<File>) -> Self {
        let (lines, heard) = (VecDeque::new(), Instant::now());
        Self(Arc::new(Mutex::new(Inner { lines, bytes: 0, redactor, heard, log })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes; gives the lines that they end, redacted and plain.
    pub(crate) fn push(&self, bytes: &[u8]) -> Vec<String> {
        let mut inner = self.lock();
        inner.heard = Instant::now();
        let lines = inner.redactor.push(bytes);
        lines.iter().map(|line| inner.keep(plain(line))).collect()
    }

    /// Takes the line that nothing ended.
    pub(crate) fn finish(&self) -> Option<String> {
        let mut inner = self.lock();
        let line = inner.redactor.finish()?;
        Some(inner.keep(plain(&line)))
    }

    /// All that is kept, and a prompt that waits.
    pub(crate) fn text(&self) -> String {
        let inner = self.lock();
        let mut text =
            inner.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
        if inner.heard.elapsed() >= SETTLED {
            text.push_str(&plain(&inner.redactor.pending()));
        }
        text
    }

    /// The last lines that are not empty.
    pub(crate) fn tail(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Reads the console to its end; panics are reported at once.
    pub(crate) async fn read(
        self,
        mut stream: impl AsyncRead + Unpin,
        job: Job,
        machine: String,
        panics: mpsc::Sender<String>,
    ) {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            for line in self.push(&buffer[..read]) {
                if let Some(at) = line.find(PANIC) {
                    // A second panic adds nothing.
                    let _ = panics.try_send(line[at..].to_owned());
                }
                job.events().output(&machine, Stream::Console, line);
            }
        }
        if let Some(line) = self.finish() {
            job.events().output(&machine, Stream::Console, line);
        }
    }
}

impl Inner {
    fn keep(&mut self, line: String) -> String {
        if let Some(log) = &mut self.log
            && writeln!(log, "{line}").is_err()
        {
            // A full disk is found by whoever must write to it.
            self.log = None;
        }
        self.bytes += line.len() + 1;
        self.lines.push_back(line.clone());
        while self.bytes > KEPT
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len() + 1;
        }
        line
    }
}

/// A line without what only a terminal understands: escape sequences, and control characters but the tab.
fn plain(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if c == '\t' || !c.is_control() {
            out.push(c);
        }
        rest = &rest[escape_len(rest.as_bytes()).max(c.len_utf8())..];
    }
    out
}

#[cfg(test)]
mod tests {
    use imgbake_runtime::Secrets;

    use super::*;

    fn console() -> Console {
        let secrets = Secrets::default();
        secrets.add("token", "hunter2hunter2");
        Console::new(LineRedactor::new(secrets), None)
    }

    #[test]
    fn shows_plain_redacted_lines() {
        let console = console();
        assert!(console.push(b"\x1b[0;32m  OK  \x1b[0m pw hunter2").is_empty());
        assert_eq!(
            console.push(b"hunter2\r\n\x1bc\x1b[?7lboot\x07\r\n"),
            ["  OK   pw ***", "boot"]
        );
        assert_eq!(console.text(), "  OK   pw ***\nboot\n");
        assert_eq!(console.tail(1), "boot");
    }

    #[test]
    fn a_prompt_is_shown_once_it_has_settled() {
        let console = console();
        console.push(b"one\nlogin: ");
        assert_eq!(console.text(), "one\n");
        console.lock().heard -= SETTLED;
        assert_eq!(console.text(), "one\nlogin: ");
        assert_eq!(console.finish().as_deref(), Some("login: "));
    }

    #[test]
    fn keeps_the_last_megabyte() {
        let console = console();
        for _ in 0..40_000 {
            console.push(&[b"x".repeat(99), b"\n".to_vec()].concat());
        }
        assert!(console.text().len() <= KEPT);
        assert!(console.text().len() > KEPT - 200);
    }
}

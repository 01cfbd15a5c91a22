//! Bytes from a program or machine to redacted lines.

use crate::Secrets;

/// A line longer than this is cut, so that a program that never ends a line takes no memory.
const LONGEST_LINE: usize = 64 * 1024;

/// Collects bytes and gives whole lines, redacted: a secret that comes in two writes is still found.
#[derive(Debug)]
pub struct LineRedactor {
    secrets: Secrets,
    buffer: Vec<u8>,
    after_return: bool,
}

impl LineRedactor {
    /// A collector that masks these secrets.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, buffer: Vec::new(), after_return: false }
    }

    /// Takes bytes; gives each line that they end. A carriage return ends a line as well, for progress
    /// bars; empty lines of that kind are dropped.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&b| b == b'\n' || b == b'\r') {
            if std::mem::take(&mut self.after_return) && piece == b"\n" {
                continue;
            }
            self.buffer.extend_from_slice(piece);
            match piece.last() {
                Some(b'\n') => lines.push(self.take(self.buffer.len())),
                Some(b'\r') => {
                    self.after_return = true;
                    let line = self.take(self.buffer.len());
                    if !line.is_empty() {
                        lines.push(line);
                    }
                }
                _ if self.buffer.len() > LONGEST_LINE => {
                    // What may be the start of a secret stays for the next piece.
                    let keep = self.secrets.longest().saturating_sub(1).min(LONGEST_LINE / 2);
                    lines.push(self.take(self.buffer.len() - keep));
                }
                _ => {}
            }
        }
        lines
    }

    /// The line that nothing ended, at the end of the stream.
    pub fn finish(&mut self) -> Option<String> {
        (!self.buffer.is_empty()).then(|| self.take(self.buffer.len()))
    }

    /// What came since the last line's end, redacted and still kept. A secret that is only half
    /// there is not known as one: ask when nothing has come for a while.
    pub fn pending(&self) -> String {
        self.secrets.redact(&String::from_utf8_lossy(&self.buffer))
    }

    fn take(&mut self, len: usize) -> String {
        let line: Vec<u8> = self.buffer.drain(..len).collect();
        let text = String::from_utf8_lossy(&line);
        self.secrets.redact(text.trim_end_matches(['\n', '\r']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_split_across_writes() {
        let secrets = Secrets::default();
        secrets.add("t", "hunter2hunter2");
        let mut lines = LineRedactor::new(secrets);
        assert!(lines.push(b"pw=hunter2h").is_empty());
        assert_eq!(lines.push(b"unter2\nnext"), ["pw=***"]);
        assert_eq!(lines.pending(), "next");
        assert_eq!(lines.finish().as_deref(), Some("next"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn bounds_a_line_without_end() {
        let mut lines = LineRedactor::new(Secrets::default());
        let got = lines.push(&vec![b'x'; LONGEST_LINE + 10]);
        assert_eq!(got.len(), 1);
    }

    #[test]
    fn carriage_returns_end_lines() {
        let mut lines = LineRedactor::new(Secrets::default());
        assert_eq!(lines.push(b"10%\r\r20%\r\nend\r\n"), ["10%", "20%", "end"]);
    }
}

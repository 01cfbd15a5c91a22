//! Bytes from a program or machine to redacted lines.

use std::ops::Range;

use crate::Secrets;
use crate::secrets::masked;

/// A line longer than this is cut, so that a program that never ends a line takes no memory.
const LONGEST_LINE: usize = 64 * 1024;

/// Bytes of a line that stay when it is cut: a secret may begin in them.
const KEPT: usize = 1024;

/// Collects bytes and gives whole lines, redacted: a secret that comes in two writes is still found.
#[derive(Debug)]
pub struct LineRedactor {
    secrets: Secrets,
    buffer: Vec<u8>,
    /// How many of the buffer's first bytes are the end of a secret whose beginning was given already.
    masked: usize,
    after_return: bool,
}

impl LineRedactor {
    /// A collector that masks these secrets.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, buffer: Vec::new(), masked: 0, after_return: false }
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
                    lines.push(self.take(self.buffer.len() - KEPT));
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
    /// there may not be known as one: ask when nothing has come for a while.
    pub fn pending(&self) -> String {
        masked(&self.buffer, &self.spans())
    }

    fn spans(&self) -> Vec<Range<usize>> {
        let mut spans = self.secrets.spans(&self.buffer);
        if self.masked > 0 {
            let mut end = self.masked;
            spans.retain(|span| {
                let apart = span.start > end;
                end = if apart { end } else { end.max(span.end) };
                apart
            });
            spans.insert(0, 0..end);
        }
        spans
    }

    /// The first bytes of the buffer. All of it is searched: a secret may go on after them.
    fn take(&mut self, len: usize) -> String {
        let mut spans = self.spans();
        spans.retain(|span| span.start < len);
        let end = spans.last().map_or(0, |span| span.end);
        if let Some(last) = spans.last_mut() {
            last.end = end.min(len);
        }
        self.masked = end.saturating_sub(len);
        let line: Vec<u8> = self.buffer.drain(..len).collect();
        masked(&line, &spans).trim_end_matches(['\n', '\r']).to_owned()
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
    fn shows_no_secret_where_a_line_is_cut() {
        const TOKEN: &str = "Zq7-kLm0pWy9vT3s";
        let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, TOKEN.repeat(9000));
        for text in [TOKEN.repeat(30_000), encoded] {
            for (before, piece) in
                [(0, 4096), (1, 8192), (7, 1000), (13, 100_000), (64_512, 16), (64_520, 7)]
            {
                let secrets = Secrets::default();
                secrets.add("t", TOKEN);
                let mut lines = LineRedactor::new(secrets);
                let bytes = [vec![b' '; before], text.clone().into_bytes()].concat();
                let mut got: Vec<String> = bytes[..bytes.len().min(before + 200_000)]
                    .chunks(piece)
                    .flat_map(|p| lines.push(p))
                    .collect();
                got.extend(lines.finish());
                let shown = got.concat().replace([' ', '*'], "");
                assert!(shown.len() <= 8, "{before}, {piece}: {shown}");
            }
        }
    }

    #[test]
    fn carriage_returns_end_lines() {
        let mut lines = LineRedactor::new(Secrets::default());
        assert_eq!(lines.push(b"10%\r\r20%\r\nend\r\n"), ["10%", "20%", "end"]);
    }
}

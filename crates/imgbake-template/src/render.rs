//! Diagnostics as plain text.

use std::fmt;
use std::ops::Range;

use crate::{Diagnostic, Diagnostics, Location};

/// One line of a text, found from a byte in it.
pub(crate) struct Position<'t> {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// The line without its end.
    pub(crate) text: &'t str,
    /// Where the line starts.
    pub(crate) start: usize,
}

/// The line and column of a byte; a byte inside a character counts as that character's first.
pub(crate) fn position(text: &str, byte: usize) -> Position<'_> {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    let before = &text[..byte];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let rest = &text[start..];
    let end = rest.find('\n').unwrap_or(rest.len());
    Position {
        line,
        column: text[start..byte].chars().count() + 1,
        text: rest[..end].trim_end_matches('\r'),
        start,
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            one(self, item, f)?;
        }
        Ok(())
    }
}

fn one(all: &Diagnostics, item: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "error[{}]: {}", item.code, item.message)?;
    match &item.place {
        Location::Template(span) => snippet(all, span, &item.label, '^', f)?,
        Location::Elsewhere(origin) => writeln!(f, " --> {origin}")?,
    }
    for related in &item.related {
        snippet(all, &related.span, &related.label, '-', f)?;
    }
    if let Some(help) = &item.help {
        writeln!(f, "  help: {help}")?;
    }
    Ok(())
}

fn snippet(
    all: &Diagnostics,
    span: &Range<usize>,
    label: &str,
    mark: char,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let at = position(&all.text, span.start);
    let arrow = if mark == '^' { "-->" } else { ":::" };
    writeln!(f, " {arrow} {}:{}:{}", all.path, at.line, at.column)?;
    if at.text.trim().is_empty() {
        return Ok(());
    }
    let gutter = at.line.to_string();
    writeln!(f, "{gutter} | {}", at.text)?;
    let blank = " ".repeat(gutter.len());
    let pad: String =
        at.text.chars().take(at.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
    let room = at.text.chars().count().saturating_sub(at.column - 1);
    let wide = all.text.get(span.start..span.end).map_or(1, |part| part.chars().count());
    let marks = mark.to_string().repeat(wide.min(room).max(1));
    let tail = if label.is_empty() { String::new() } else { format!(" {label}") };
    writeln!(f, "{blank} | {pad}{marks}{tail}")
}

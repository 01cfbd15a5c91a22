//! Text on a terminal: made harmless, measured, cut and padded.

use std::borrow::Cow;

use imgbake_types::terminal::escape_len;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Single line of foreign text that cannot drive a terminal: escape sequences (ECMA-48, 5.4 and 5.6),
/// control characters and changes of writing direction are left out, tabs are spaces, and of a line
/// that was written over with carriage returns the last state stays.
pub fn clean(text: &str) -> String {
    let line = text.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or_default();
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let skipped = escape_len(rest.as_bytes());
        match c {
            '\x1b' => {}
            '\t' => {
                let stop = 8 - out.width() % 8;
                out.extend(std::iter::repeat_n(' ', stop));
            }
            '\n' => out.push(' '),
            c if is_direction(c) || c.is_control() || is_joiner(c, &rest[c.len_utf8()..]) => {}
            c => out.push(c),
        }
        rest = &rest[skipped.max(c.len_utf8())..];
    }
    out
}

/// What a terminal may be given: lines of ours with foreign text in them, whoever forgot to clean that. Of
/// escape sequences only such as our own lines have stay, and only with `color`: none that hides text or paints
/// what is behind it, and none that goes on after the text.
pub fn harmless(text: &str, color: bool) -> Cow<'_, str> {
    let wrong = |c: char| is_direction(c) || (c.is_control() && c != '\n' && c != '\t');
    if !text.contains(wrong) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut painted) = (text, false);
    while let Some(at) = rest.find(wrong) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if color && let Some(paint) = paint_sequence(rest) {
            out.push_str(paint);
            painted = paint != RESET;
            rest = &rest[paint.len()..];
            continue;
        }
        let first = rest.chars().next().map_or(0, char::len_utf8);
        rest = &rest[escape_len(rest.as_bytes()).max(first)..];
    }
    out.push_str(rest);
    if painted {
        out.push_str(RESET);
    }
    out.into()
}

/// Ends all that paints.
const RESET: &str = "\x1b[0m";

/// The sequence at the start of a text that sets the colour or weight of letters (ECMA-48, 8.3.117).
fn paint_sequence(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("\x1b[")?;
    let len = inner.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    let ours = |code: &str| matches!(code.parse().unwrap_or(0), 0..=4_u16 | 22..=24 | 31..=36 | 39 | 91..=96);
    let known = inner[len..].starts_with('m') && inner[..len].split(';').all(ours);
    known.then(|| &text[..=2 + len])
}

/// What joins or changes pictures: terminals do not agree how many columns the whole then takes (Unicode Technical
/// Standard 51), and a line of another width than was thought shifts all after it. A joiner between letters stays.
fn is_joiner(c: char, rest: &str) -> bool {
    let next = || rest.chars().next().and_then(UnicodeWidthChar::width);
    match c {
        '\u{200d}' => next() == Some(2),
        _ => {
            matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{20e3}' | '\u{1f3fb}'..='\u{1f3ff}')
                || matches!(c, '\u{e0020}'..='\u{e007f}')
        }
    }
}

/// Changes of writing direction (Unicode Standard Annex 9).
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text, cut to a width with `…` if it is wider.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut columns = width.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > columns {
            break;
        }
        columns -= wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// The text, cut to a width with `…` in its midst if it is wider: names often differ at their ends.
pub(crate) fn cut_middle(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let begin = cut(text, width / 2 + usize::from(width > 0));
    let mut columns = width.saturating_sub(begin.width());
    let mut end = text.len();
    for (place, c) in text.char_indices().rev() {
        let wide = c.width().unwrap_or(0);
        if wide > columns {
            break;
        }
        columns -= wide;
        end = place;
    }
    begin + &text[end..]
}

/// The text with spaces after it up to a width.
pub(crate) fn left(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The text with spaces before it up to a width.
pub(crate) fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text in lines of at most `width` columns, broken at spaces where there are any.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_harmless() {
        for (given, shown) in [
            ("plain", "plain"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bPq#0\x1b\\x", "x"),
            ("\x1b(Bx\x1b=y", "xy"),
            ("10%\r20%\r100%\r\n", "100%"),
            ("a\tb", "a       b"),
            ("bell\x07 back\x08 del\x7f", "bell back del"),
            ("c1 \u{9b}31m", "c1 31m"),
            ("rtl \u{202e}gpj", "rtl gpj"),
            ("cut \x1b[", "cut "),
            ("cut \x1b", "cut "),
            ("two\nlines", "two lines"),
            ("grün 日本", "grün 日本"),
            ("\u{1f469}\u{200d}\u{1f467} x", "\u{1f469}\u{1f467} x"),
            ("\u{2764}\u{fe0f} 1\u{fe0f}\u{20e3} \u{1f44d}\u{1f3fd}", "\u{2764} 1 \u{1f44d}"),
            ("\u{d9a}\u{dca}\u{200d}\u{dba}", "\u{d9a}\u{dca}\u{200d}\u{dba}"),
        ] {
            assert_eq!(clean(given), shown, "{given:?}");
        }
    }

    #[test]
    fn only_our_colours_reach_a_terminal() {
        for (given, plain, coloured) in [
            ("a\tb\nc", "a\tb\nc", "a\tb\nc"),
            ("\x1b[1;31mred\x1b[0m", "red", "\x1b[1;31mred\x1b[0m"),
            ("\x1b]0;title\x07after", "after", "after"),
            ("\x1b[2Jx\x1b[31my", "xy", "x\x1b[31my\x1b[0m"),
            ("\x1b[8mhidden\x1b[42m", "hidden", "hidden"),
            ("\x1b[1;7mx\x1b[30my", "xy", "xy"),
            ("a\rb\x07\u{9b}31m\u{202e}", "ab31m", "ab31m"),
            ("cut \x1b[3", "cut ", "cut "),
            ("é\x1b", "é", "é"),
        ] {
            assert_eq!(harmless(given, false), plain, "{given:?}");
            assert_eq!(harmless(given, true), coloured, "{given:?}");
        }
    }

    #[test]
    fn widths_are_columns() {
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
        for (text, width, expected) in [
            ("debian-12-web-large", 11, "debia…large"),
            ("debian-12-web-large", 10, "debia…arge"),
            ("debian", 6, "debian"),
            ("debian", 1, "…"),
            ("debian", 0, ""),
            ("日本日本", 5, "日…本"),
        ] {
            assert_eq!(cut_middle(text, width), expected);
        }
        assert_eq!(left("日本", 6), "日本  ");
        assert_eq!(right("1.0", 6), "   1.0");
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghijkl", 8), ["abcdefgh", "ijkl"]);
        assert_eq!(wrap("", 8), [""]);
    }
}

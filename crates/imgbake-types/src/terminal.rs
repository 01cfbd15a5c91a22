//! What is in a text and not seen on a terminal.

/// The length in bytes of the escape sequence that a text begins with (ECMA-48, 5.4 and 5.6); 0 where it
/// begins with none. A sequence that does not end goes to the text's end.
pub fn escape_len(text: &[u8]) -> usize {
    let Some((0x1B, rest)) = text.split_first() else { return 0 };
    let skipped = |from: usize, skips: fn(&u8) -> bool| {
        from + text[from..].iter().take_while(|byte| skips(byte)).count()
    };
    match rest.first() {
        // Control sequences: parameters, then a final byte.
        Some(b'[') => {
            let end = skipped(2, |byte| (0x20..=0x3F).contains(byte));
            end + usize::from(text.get(end).is_some_and(|byte| (0x40..=0x7E).contains(byte)))
        }
        // Strings: operating system commands, device control and their like, up to BEL or ST.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let ends = |at: &usize| text[*at] == 0x07 || text[*at..].starts_with(b"\x1b\\");
            (2..text.len())
                .find(ends)
                .map_or(text.len(), |at| at + 1 + usize::from(text[at] == 0x1B))
        }
        Some(0x20..=0x2F) => {
            let end = skipped(1, |byte| (0x20..=0x2F).contains(byte));
            end + char_len(&text[end..])
        }
        _ => 1 + char_len(rest),
    }
}

/// The length in bytes of the character that a text begins with, if it is one that is not seen: a control
/// character but tab and line ends, a change of writing direction (Unicode Standard Annex 9), or one without
/// width. Otherwise 0.
pub fn invisible_len(text: &[u8]) -> usize {
    match text {
        [b'\t' | b'\n' | b'\r', ..] => 0,
        [0x00..=0x1F | 0x7F, ..] => 1,
        // U+0080 to U+009F, and the soft hyphen.
        [0xC2, 0x80..=0x9F | 0xAD, ..] => 2,
        // U+200B to U+200F, U+202A to U+202E, U+2060 to U+206F, U+FEFF.
        [0xE2, 0x80, 0x8B..=0x8F | 0xAA..=0xAE, ..]
        | [0xE2, 0x81, 0xA0..=0xAF, ..]
        | [0xEF, 0xBB, 0xBF, ..] => 3,
        _ => 0,
    }
}

/// The length of a text's first character; of what is no UTF-8, one byte.
fn char_len(text: &[u8]) -> usize {
    let expected = match text.first() {
        None => return 0,
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        Some(_) => 1,
    };
    let rest = text.iter().skip(1).take(expected - 1);
    if rest.filter(|byte| **byte & 0xC0 == 0x80).count() == expected - 1 { expected } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_have_ends() {
        for (text, len) in [
            ("plain", 0),
            ("\x1b[0;1mred", 6),
            ("\x1b[1\x1b[0m", 3),
            ("\x1b]0;title\x07rest", 10),
            ("\x1bPq\x1b[0m\x1b\\rest", 9),
            ("\x1b]never ends", 12),
            ("\x1b(Brest", 3),
            ("\x1bcboot", 2),
            ("\x1büboot", 3),
            ("\x1b", 1),
            ("\x1b[", 2),
        ] {
            assert_eq!(escape_len(text.as_bytes()), len, "{text:?}");
        }
    }

    #[test]
    fn some_characters_are_not_seen() {
        for c in [
            '\0', '\u{8}', '\u{7f}', '\u{9b}', '\u{ad}', '\u{200b}', '\u{202e}', '\u{2066}',
            '\u{feff}',
        ] {
            assert_eq!(invisible_len(c.to_string().as_bytes()), c.len_utf8(), "{c:?}");
        }
        for c in ['a', '\n', '\t', 'ü', '—', '\u{2028}', '中'] {
            assert_eq!(invisible_len(c.to_string().as_bytes()), 0, "{c:?}");
        }
    }
}

//! What a text stands for besides its bytes: without escape sequences, without blanks, and decoded from
//! base64, hexadecimal dumps and escapes. Of each byte it is known where in the text it stands.

use std::ops::Range;

use imgbake_types::terminal::{escape_len, invisible_len};

/// Bytes that a text stands for.
#[derive(Debug, Default)]
pub(super) struct View {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl View {
    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in the text a range of the bytes stands.
    pub(super) fn place(&self, range: &Range<usize>) -> Range<usize> {
        let places = &self.places[range.clone()];
        // Words of little-endian dumps stand in reverse.
        let start = places.iter().map(|place| place.start).min().unwrap_or_default();
        let end = places.iter().map(|place| place.end).max().unwrap_or_default();
        start..end
    }

    fn push(&mut self, byte: u8, place: Range<usize>) {
        self.bytes.push(byte);
        self.places.push(place);
    }

    /// What comes next does not follow: 0xFF and NUL stand together in no text.
    fn gap(&mut self, at: usize) {
        if self.bytes.last() != Some(&0) {
            self.push(0xFF, at..at);
            self.push(0, at..at);
        }
    }
}

/// A text as a terminal shows it: escape sequences and what is not seen are left out. With `inside`, what
/// escape sequences hold stays. None where that is the text itself.
pub(super) fn shown(text: &[u8], inside: bool) -> Option<View> {
    if !(0..text.len()).any(|at| invisible_len(&text[at..]) > 0) {
        return None;
    }
    let mut view = View::default();
    let mut at = 0;
    while at < text.len() {
        let escape = if inside { 0 } else { escape_len(&text[at..]) };
        let hidden = escape.max(invisible_len(&text[at..]));
        if hidden == 0 {
            view.push(text[at], at..at + 1);
        }
        at += hidden.max(1);
    }
    Some(view)
}

/// A text without blanks and line ends: wrapped, or dumped character by character.
pub(super) fn dense(text: &[u8]) -> Option<View> {
    if !text.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let mut view = View::default();
    for (at, &byte) in text.iter().enumerate() {
        if !byte.is_ascii_whitespace() {
            view.push(byte, at..at + 1);
        }
    }
    Some(view)
}

/// A text with the escapes of URLs (`%2F`), JSON and programming languages (`\"`, `\u002f`, `\x2f`, `\057`),
/// shells (`'\''`) and XML (`&amp;`) undone.
pub(super) fn unescaped(text: &[u8]) -> Option<View> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'&')) {
        return None;
    }
    let mut view = View::default();
    let mut at = 0;
    while at < text.len() {
        let (len, bytes) = unescape(&text[at..]);
        bytes.as_bytes().iter().for_each(|&byte| view.push(byte, at..at + len));
        at += len;
    }
    Some(view)
}

/// Up to four bytes.
struct Few([u8; 4], usize);

impl Few {
    fn as_bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

impl From<u8> for Few {
    fn from(byte: u8) -> Self {
        Self([byte, 0, 0, 0], 1)
    }
}

/// The first character of a text: its length as it is written, and its bytes.
fn unescape(text: &[u8]) -> (usize, Few) {
    const ENTITIES: [(&[u8], u8); 6] = [
        (b"&amp;", b'&'),
        (b"&lt;", b'<'),
        (b"&gt;", b'>'),
        (b"&quot;", b'"'),
        (b"&#39;", b'\''),
        (b"&apos;", b'\''),
    ];
    let number = |from: usize, len: usize, base: u32| {
        let digits = std::str::from_utf8(text.get(from..from + len)?).ok()?;
        u32::from_str_radix(digits, base).ok()
    };
    let byte =
        |from, len, base| number(from, len, base).and_then(|number| u8::try_from(number).ok());
    let as_it_is = (1, Few::from(text[0]));
    match text {
        [b'%', ..] => byte(1, 2, 16).map_or(as_it_is, |byte| (3, byte.into())),
        [b'&', ..] => ENTITIES
            .iter()
            .find(|(name, _)| text.starts_with(name))
            .map_or(as_it_is, |(name, byte)| (name.len(), (*byte).into())),
        [b'\'', b'\\', b'\'', b'\'', ..] => (4, b'\''.into()),
        [b'\\', b'u', ..] => match number(2, 4, 16).and_then(char::from_u32) {
            Some(c) => {
                let mut few = Few([0; 4], c.len_utf8());
                c.encode_utf8(&mut few.0);
                (6, few)
            }
            None => as_it_is,
        },
        [b'\\', b'x', ..] => byte(2, 2, 16).map_or(as_it_is, |byte| (4, byte.into())),
        [b'\\', b'0'..=b'3', b'0'..=b'7', b'0'..=b'7', ..] => {
            byte(1, 3, 8).map_or(as_it_is, |byte| (4, byte.into()))
        }
        [b'\\', b'n', ..] => (2, b'\n'.into()),
        [b'\\', b't', ..] => (2, b'\t'.into()),
        [b'\\', b'r', ..] => (2, b'\r'.into()),
        [b'\\', c, ..] if c.is_ascii_punctuation() || *c == b' ' => (2, (*c).into()),
        _ => as_it_is,
    }
}

/// Shorter runs of digits hold no secret that is distinguished from random text.
const FEWEST_BASE64: usize = 10;

/// What the base64 in a text decodes to (RFC 4648, both alphabets), line ends left out, when the first digit
/// is the one of a group of four that `phase` says.
pub(super) fn base64(text: &[u8], phase: usize) -> Option<View> {
    let mut view = View::default();
    let mut run: Vec<(u8, usize)> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            byte if base64_digit(byte).is_some() => {
                run.extend(base64_digit(byte).map(|digit| (digit, at)));
            }
            b'\\' if matches!(text.get(at + 1), Some(b'n' | b'r' | b't')) => at += 1,
            byte if byte.is_ascii_whitespace() => {}
            _ => decode_base64(&std::mem::take(&mut run), phase, &mut view),
        }
        at += 1;
    }
    decode_base64(&run, phase, &mut view);
    (!view.bytes.is_empty()).then_some(view)
}

fn decode_base64(run: &[(u8, usize)], phase: usize, view: &mut View) {
    if run.len() < FEWEST_BASE64 {
        return;
    }
    view.gap(run[0].1);
    for group in run[phase..].chunks(4) {
        let place = group[0].1..group[group.len() - 1].1 + 1;
        let bits = group.iter().fold(0_u32, |bits, (digit, _)| bits << 6 | u32::from(*digit));
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        for &byte in &bytes[1..group.len()] {
            view.push(byte, place.clone());
        }
    }
}

fn base64_digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// What the hexadecimal digits in a text decode to, whatever separates them in dumps (`5a 71`, `5a:71`,
/// `0x5a, 0x71`, `\x5a\x71`), when the first one is a byte's upper (0) or lower (1) half.
pub(super) fn hex(text: &[u8], phase: usize) -> Option<View> {
    let mut view = View::default();
    let mut run: Vec<(u8, usize)> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            (b'0' | b'\\', Some(b'x' | b'X')) => at += 1,
            (byte, _) => match char::from(byte).to_digit(16) {
                Some(digit) => run.extend(u8::try_from(digit).ok().map(|digit| (digit, at))),
                None if is_separator(byte) => {}
                None => decode_hex(&std::mem::take(&mut run), phase, &mut view),
            },
        }
        at += 1;
    }
    decode_hex(&run, phase, &mut view);
    (!view.bytes.is_empty()).then_some(view)
}

fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b':' | b'-' | b',' | b';' | b'%' | b'"' | b'\'')
}

fn decode_hex(run: &[(u8, usize)], phase: usize, view: &mut View) {
    if run.len() < FEWEST_BASE64 {
        return;
    }
    view.gap(run[0].1);
    for pair in run[phase..].chunks_exact(2) {
        view.push(pair[0].0 << 4 | pair[1].0, pair[0].1..pair[1].1 + 1);
    }
}

/// What a dump of little-endian words decodes to (`hexdump`, `od -x`): words of 4, 8 or 16 digits.
pub(super) fn words(text: &[u8]) -> Option<View> {
    let mut view = View::default();
    let mut at = 0;
    for word in text.split_inclusive(|byte| !byte.is_ascii_hexdigit()) {
        let digits = word.strip_suffix(b" ").or_else(|| word.strip_suffix(b"\n")).unwrap_or(word);
        if matches!(digits.len(), 4 | 8 | 16) && digits.iter().all(u8::is_ascii_hexdigit) {
            for (number, pair) in digits.chunks(2).enumerate().rev() {
                let value = pair.iter().filter_map(|&digit| char::from(digit).to_digit(16));
                let byte = value.fold(0, |byte, digit| byte << 4 | digit);
                let start = at + number * 2;
                view.push(u8::try_from(byte).unwrap_or_default(), start..start + 2);
            }
        } else if word.len() > 1 {
            view.gap(at);
        }
        at += word.len();
    }
    (!view.bytes.is_empty()).then_some(view)
}

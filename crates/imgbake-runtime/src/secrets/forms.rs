//! What a disk is searched for: a secret as it is, and as it is most often encoded.
//!
//! A disk's bytes pass at gigabytes per second, so nothing is decoded there. Of each encoded form two
//! pieces are looked for that no single line end can both break.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::parts::Part;

/// A value of fewer bytes is found in any image at random.
const SEARCHABLE: usize = 6;
/// Encoded forms of fewer characters are found at random as well.
const SHORTEST_FORM: usize = 8;
/// Characters of a piece. Lines are broken after 76 characters (RFC 2045), 64 (RFC 7468), 60 (`xxd -p`) or more.
const PIECE: usize = 28;
/// Parts of one value whose encoded forms are looked for as well; the others are in clear only.
const ENCODED: usize = 8;
/// How the first line of every OpenSSH private key begins: `openssh-key-v1` in base64 (OpenSSH,
/// PROTOCOL.key). It does not distinguish keys.
const EVERY_OPENSSH_KEY: &str = "b3BlbnNzaC1rZXktdjEA";

/// Whether a part is long enough to be distinguished from random text.
pub(super) fn searchable(part: &Part) -> bool {
    part.text.trim().len() >= SEARCHABLE && !part.text.starts_with(EVERY_OPENSSH_KEY)
}

/// The forms of a value's parts.
pub(super) fn of(parts: &[Part]) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    let searchable = || parts.iter().filter(|part| searchable(part));
    forms.extend(searchable().map(|part| part.text.trim().as_bytes().to_vec()));
    // A key's lines are base64 already, of which its second line is as good as all.
    let pem = searchable().filter(|part| part.pem).nth(1);
    for part in searchable().filter(|part| !part.pem).take(ENCODED).chain(pem) {
        encoded(part.text.trim(), &mut forms);
    }
    forms.sort();
    forms.dedup();
    forms
}

fn encoded(text: &str, forms: &mut Vec<Vec<u8>>) {
    let bytes = text.as_bytes();
    for offset in 0..3 {
        for engine in [&STANDARD, &URL_SAFE] {
            pieces(&base64_core(bytes, offset, engine), forms);
        }
    }
    for digits in [hex::encode(bytes), hex::encode_upper(bytes)] {
        pieces(digits.as_bytes(), forms);
        spaced(&digits, forms);
    }
    let (upper, lower) = (percent(text, "", false), percent(text, "", true));
    // Of Python's `quote` and of forms (application/x-www-form-urlencoded).
    let (path, form) = (percent(text, "/", false), percent(text, " ", false).replace(' ', "+"));
    let json = serde_json::Value::String(text.to_owned()).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let slashed = json.replace('/', "\\/");
    let xml =
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let (shell, doubled) = (text.replace('\'', "'\\''"), text.replace('\'', "''"));
    for form in [upper, lower, path, form, json, slashed, xml, shell, doubled] {
        forms.push(form.into_bytes());
    }
    forms.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
}

/// Two pieces of a text that a line's end cannot both break; the whole of a short one.
fn pieces(text: &[u8], forms: &mut Vec<Vec<u8>>) {
    let half = (text.len() / 2).min(PIECE);
    if half >= SHORTEST_FORM {
        forms.push(text[..half].to_vec());
        forms.push(text[half..half * 2].to_vec());
    } else if text.len() >= SHORTEST_FORM {
        forms.push(text.to_vec());
    }
}

/// Dumps with blanks between bytes (`od -tx1`, `hexdump -C`) or pairs of bytes (`xxd`): they break every 8 or 16
/// bytes, and of two runs that share one byte only one can be broken.
fn spaced(digits: &str, forms: &mut Vec<Vec<u8>>) {
    let bytes = digits.len() / 2;
    let dumped = |from: usize, to: usize, group: usize| {
        let mut out = String::new();
        for byte in from..to {
            out.push_str(&digits[byte * 2..byte * 2 + 2]);
            if (byte + 1 - from).is_multiple_of(group) && byte + 1 < to {
                out.push(' ');
            }
        }
        out.into_bytes()
    };
    if bytes < 9 {
        forms.push(dumped(0, bytes, 1));
        return;
    }
    // Between other signs they are broken where anybody likes.
    for between in [":", "\\x", ", 0x"] {
        let start: Vec<&str> = (0..5).map(|byte| &digits[byte * 2..byte * 2 + 2]).collect();
        forms.push(start.join(between).into_bytes());
    }
    forms.push(dumped(0, 5, 1));
    forms.push(dumped(4, 9, 1));
    // A pair begins at an even or an odd byte of the secret.
    for first in 0..2 {
        for from in [first, first + 6] {
            if from + 6 <= bytes {
                forms.push(dumped(from, from + 6, 2));
            }
        }
    }
}

/// The base64 digits that depend on the value alone, where it starts `offset` bytes into a group of
/// three (RFC 4648, section 4).
fn base64_core(value: &[u8], offset: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(value);
    let digits = engine.encode(&padded).into_bytes();
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    digits[first..last].to_vec()
}

/// Percent-encoding of all but RFC 3986's unreserved characters and those of `kept`.
fn percent(text: &str, kept: &str, lower: bool) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii() && kept.contains(char::from(b)) => char::from(b).to_string(),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            _ if lower => format!("%{b:02x}"),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

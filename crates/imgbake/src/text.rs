//! Texts that people write: templates, variables, settings.

use camino::Utf8Path;

use crate::failure::Failure;

/// Reads a UTF-8 text. What editors of Windows add is taken off: a byte order mark, and CR before a line's
/// end, which inside a string would reach the machine. `what` names the kind of file in errors.
///
/// # Errors
/// It cannot be read, or it is no UTF-8.
pub fn read(what: &str, path: &Utf8Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read the {what} {path}: {error}")))?;
    decode(bytes).map_err(|why| {
        Failure::usage(format!("the {what} {path} is not UTF-8 ({why}): save it as UTF-8"))
    })
}

fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
            return "it is UTF-16".to_owned();
        }
        let (before, after) = bytes.split_at(error.utf8_error().valid_up_to());
        let line = before.split(|b| *b == b'\n').count();
        format!("line {line} holds the byte 0x{:02x}", after[0])
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_editors_add_is_taken_off() {
        for (bytes, expected) in [
            (&b"\xEF\xBB\xBFa = \"\r\nb\r\n"[..], Ok("a = \"\nb\n")),
            (b"a\nb\rc", Ok("a\nb\rc")),
            (b"", Ok("")),
            (b"\xFF\xFEa\0", Err("it is UTF-16")),
            (b"a = 1\nb = '\xE4'", Err("line 2 holds the byte 0xe4")),
            (b"a = '\xC3", Err("line 1 holds the byte 0xc3")),
        ] {
            let decoded = decode(bytes.to_vec());
            assert_eq!(decoded.as_deref().map_err(String::as_str), expected, "{bytes:?}");
        }
    }
}

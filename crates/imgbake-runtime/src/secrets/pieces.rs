//! What a value of a document is to the programs that read it: without quotes, comments and escapes, decoded, and the
//! values within it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// Text in base64 that is shorter is as well a word.
const SHORTEST_BASE64: usize = 8;

/// What stands between quotes; else the text itself.
pub(super) fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// A value without what follows it on its line: a comment (`#`, `;`) or a further command; and without a YAML
/// anchor or tag before it.
pub(super) fn without_comment(value: &str) -> &str {
    let mut value = value.trim();
    while value.starts_with(['&', '!'])
        && let Some((_, rest)) = value.split_once(' ')
    {
        value = rest.trim_start();
    }
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        if let Some(end) = closing(value, quote) {
            return &value[1..end];
        }
        return value;
    }
    let ends = value.char_indices().filter(|(at, c)| {
        let spaced = value[..*at].ends_with([' ', '\t']);
        let command = *c == ';' && value[at + 1..].starts_with(' ');
        matches!(c, '#' | ';') && spaced || command
    });
    let end = ends.map(|(at, _)| at).next().unwrap_or(value.len());
    value[..end].trim_end()
}

/// Where a quoted text ends: at a quote that is neither escaped nor doubled.
fn closing(value: &str, quote: char) -> Option<usize> {
    let mut chars = value.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Some(at);
            }
        }
    }
    None
}

/// Other texts that a secret value may be to who reads it: with its escapes undone, decoded from a URL or base64, and
/// the password of a pair.
pub(super) fn read_as(value: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut note = |text: String| {
        if text != value && !text.is_empty() && !found.contains(&text) {
            found.push(text);
        }
    };
    if value.contains('\\')
        && let Ok(text) = serde_json::from_str::<String>(&format!("\"{value}\""))
    {
        note(text);
    }
    if value.contains("''") {
        note(value.replace("''", "'"));
    }
    if value.contains('%')
        && let Ok(text) = percent_decode_str(value).decode_utf8()
    {
        note(text.into_owned());
    }
    if value.len() >= SHORTEST_BASE64
        && let Ok(bytes) = STANDARD.decode(value)
        && let Ok(text) = String::from_utf8(bytes)
        && !text.trim_end().chars().any(char::is_control)
    {
        if let Some((_, password)) = text.split_once(':') {
            note(password.to_owned());
        }
        note(text.trim_end().to_owned());
    }
    found
}

/// The values within a URL (its user, path and query) or a connection string (`KEY=VALUE;…`), with their keys.
pub(super) fn of(value: &str) -> Vec<(Option<&str>, &str)> {
    let pair =
        |piece: &'_ str| -> Option<(usize, usize)> { piece.find('=').map(|at| (at, at + 1)) };
    let keyed = |piece| match pair(piece) {
        Some((end, start)) => (Some(&piece[..end]), &piece[start..]),
        None => (None, piece),
    };
    if let Some((_, rest)) = value.split_once("://") {
        let (place, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        let user = user.filter(|user| !user.contains(':')).map(|user| (None, user));
        let path = path.split('/').map(|segment| (None, segment));
        let query = query.split(['&', ';']).map(keyed).filter(|(key, _)| key.is_some());
        return user.into_iter().chain(path).chain(query).filter(|(_, v)| !v.is_empty()).collect();
    }
    if value.contains(';') && value.contains('=') {
        let pairs = value.split(';').map(str::trim).map(keyed);
        return pairs.filter(|(key, value)| key.is_some() && !value.is_empty()).collect();
    }
    Vec::new()
}

/// The pieces of a flow mapping or sequence (`{a: b, c: "d, e"}`), parted where no quotes are.
pub(super) fn unnested(value: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, c) in value.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if matches!(c, '{' | '}' | '[' | ']' | ',') => {
                pieces.push(value[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(value[start..].trim());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

//! The values that must never be shown or stored.

use std::fmt;
use std::sync::{Arc, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use secrecy::{ExposeSecret, SecretString};

/// A value of fewer bytes is found in any image by chance.
const SEARCHABLE: usize = 6;
/// How the first line of every OpenSSH private key begins: `openssh-key-v1` in base64 (OpenSSH,
/// PROTOCOL.key). It tells no key from another.
const EVERY_OPENSSH_KEY: &[u8] = b"b3BlbnNzaC1rZXktdjEA";

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// A job's secrets: the template's sensitive variables, and keys that the job itself makes. Clones
/// share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Inner>>);

#[derive(Default)]
struct Inner {
    values: Vec<(String, SecretString)>,
    matcher: Option<AhoCorasick>,
    longest: usize,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Adds a value under the name that markers use. An empty value is no secret.
    pub fn add(&self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let mut inner = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.values.push((name.to_owned(), SecretString::from(value.to_owned())));
        let patterns: Vec<Vec<u8>> =
            inner.values.iter().flat_map(|(_, value)| encodings(value.expose_secret())).collect();
        inner.longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        inner.matcher =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok();
    }

    /// Puts values in the place of markers. The result must go to the machine and nowhere else.
    pub fn reveal(&self, text: &str) -> SecretString {
        let inner = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let value = |name: &str| {
            inner
                .values
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.expose_secret())
        };
        SecretString::from(imgbake_types::secret::reveal(text, value))
    }

    /// A text with each secret, in clear, base64, hexadecimal, URL or JSON form, masked.
    pub fn redact(&self, text: &str) -> String {
        let inner = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(matcher) = &inner.matcher else {
            return text.to_owned();
        };
        let mut out = String::with_capacity(text.len());
        matcher.replace_all_with(text, &mut out, |_, _, out| {
            out.push_str(MASK);
            true
        });
        out
    }

    /// Whether a text holds a secret in any form.
    pub fn found_in(&self, text: &str) -> bool {
        let inner = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.matcher.as_ref().is_some_and(|matcher| matcher.is_match(text))
    }

    /// The length in bytes of the longest form of any secret.
    pub fn longest(&self) -> usize {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).longest
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).values.is_empty()
    }

    /// Name and every searchable form of each secret long enough (6 bytes) to be told from chance: for
    /// the search of an image's bytes.
    pub fn patterns(&self) -> Vec<(String, Vec<u8>)> {
        let inner = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let forms = |(name, value): &(String, SecretString)| {
            encodings(value.expose_secret())
                .into_iter()
                .map(|form| (name.clone(), form))
                .collect::<Vec<_>>()
        };
        inner
            .values
            .iter()
            .flat_map(forms)
            .filter(|(_, form)| form.len() >= SEARCHABLE && !form.starts_with(EVERY_OPENSSH_KEY))
            .collect()
    }

    /// The names of values too short to be looked for in an image.
    pub fn short(&self) -> Vec<String> {
        let inner = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_short = |value: &SecretString| value.expose_secret().len() < SEARCHABLE;
        inner
            .values
            .iter()
            .filter(|(_, value)| is_short(value))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// The forms in which a value is looked for.
fn encodings(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.as_bytes().to_vec()];
    let trimmed = value.trim();
    // Output comes line by line: each longer line of a key or certificate counts by itself.
    let lines: Vec<&str> = trimmed.lines().map(str::trim).filter(|line| line.len() >= 12).collect();
    if trimmed.lines().count() > 1 {
        forms.extend(
            lines.iter().filter(|line| !line.starts_with("-----")).map(|l| l.as_bytes().to_vec()),
        );
    }
    if trimmed.len() >= 6 {
        forms.push(trimmed.as_bytes().to_vec());
        for offset in 0..3 {
            for engine in [&STANDARD, &URL_SAFE] {
                forms.push(base64_core(trimmed.as_bytes(), offset, engine));
            }
        }
        let hex = hex::encode(trimmed);
        forms.push(hex.to_uppercase().into_bytes());
        forms.push(hex.into_bytes());
        forms.push(percent(trimmed).into_bytes());
        let json = serde_json::Value::String(trimmed.to_owned()).to_string();
        forms.push(json.trim_matches('"').as_bytes().to_vec());
    }
    forms.retain(|form| !form.is_empty());
    forms.sort();
    forms.dedup();
    forms
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

/// Percent-encoding of all but RFC 3986's unreserved characters.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn masks_every_form() {
        let secrets = Secrets::default();
        secrets.add("token", "s3cr/t value");
        for offset in ["", "x", "xy", "xyz"] {
            let text = STANDARD.encode(format!("{offset}s3cr/t value and more"));
            let shown = secrets.redact(&text);
            assert!(shown.contains(MASK), "{offset}: {shown}");
        }
        assert_eq!(secrets.redact("a s3cr/t value b"), "a *** b");
        assert_eq!(secrets.redact("q=s3cr%2Ft%20value&"), "q=***&");
        assert_eq!(secrets.redact("nothing"), "nothing");
    }

    #[test]
    fn reveals_markers() {
        let secrets = Secrets::default();
        secrets.add("token", "abc");
        let text = format!("T={}", imgbake_types::secret::marker("token"));
        assert_eq!(secrets.reveal(&text).expose_secret(), "T=abc");
        assert!(!format!("{secrets:?}").contains("abc"));
    }
}

//! The values that must never be shown or stored.
//!
//! [`parts`] says what of a value is secret, [`views`] what a text stands for, [`find`] where a secret is in
//! it, and [`forms`] what a disk is searched for.

mod find;
mod forms;
mod parts;
mod pieces;
mod views;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use secrecy::{ExposeSecret, SecretString};

use find::Finder;
use parts::Parts;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// A job's secrets: the template's sensitive variables, and keys that the job itself makes. Clones
/// share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Inner>>);

#[derive(Default)]
struct Inner {
    values: Vec<Value>,
    finder: Finder,
}

struct Value {
    name: String,
    text: SecretString,
    parts: Parts,
    /// Whether images are searched for it.
    searched: bool,
}

/// What of a sensitive document is secret, by the places of its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The variable.
    pub name: String,
    /// Places that are masked: `users.user.token`.
    pub secret: Vec<String>,
    /// Places that are not.
    pub open: Vec<String>,
}

/// Places that [`Document`]'s words name.
const NAMED: usize = 8;

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |places: &[String]| {
            let named = places[..places.len().min(NAMED)].join(", ");
            match places.len().saturating_sub(NAMED) {
                0 => named,
                more => format!("{named} and {more} more"),
            }
        };
        write!(
            f,
            "of the sensitive value `{}`, these parts are secret: {}",
            self.name,
            list(&self.secret)
        )?;
        match &self.open[..] {
            [] => Ok(()),
            open => write!(f, "; not masked: {}", list(open)),
        }
    }
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
        self.push(name, value, true);
    }

    /// Masks a value that no image can hold, such as a registry's token, in place of the one of that name before:
    /// it is not looked for in images.
    pub fn mask(&self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.values.retain(|value| value.searched || value.name != name);
        drop(inner);
        self.push(name, value, false);
    }

    fn push(&self, name: &str, value: &str, searched: bool) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let text = SecretString::from(value.to_owned());
        let parts = parts::split(value);
        inner.values.push(Value { name: name.to_owned(), text, parts, searched });
        inner.finder = Finder::new(inner.values.iter().flat_map(|value| &value.parts.secret));
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts values in the place of markers. The result must go to the machine and nowhere else.
    pub fn reveal(&self, text: &str) -> SecretString {
        let inner = self.read();
        let named = |name: &str| inner.values.iter().find(|value| value.name == name);
        let value = |name: &str| named(name).map(|value| value.text.expose_secret());
        SecretString::from(imgbake_types::secret::reveal(text, value))
    }

    /// A text with each secret masked, also where it is escaped, encoded, dumped, or only a part of it.
    pub fn redact(&self, text: &str) -> String {
        let spans = self.spans(text.as_bytes());
        if spans.is_empty() { text.to_owned() } else { masked(text.as_bytes(), &spans) }
    }

    /// Whether a text holds a secret in any form.
    pub fn found_in(&self, text: &str) -> bool {
        !self.spans(text.as_bytes()).is_empty()
    }

    /// Where secrets stand in a text, in order, none touching another.
    pub(crate) fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        self.read().finder.spans(text)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.read().values.is_empty()
    }

    /// Name and searchable forms of each secret long enough (6 bytes) to be distinguished from random text: for the
    /// search of an image's bytes.
    pub fn patterns(&self) -> Vec<(String, Vec<u8>)> {
        let inner = self.read();
        let named = |value: &Value| {
            let forms = forms::of(&value.parts.secret);
            forms.into_iter().map(|form| (value.name.clone(), form)).collect::<Vec<_>>()
        };
        inner.values.iter().filter(|value| value.searched).flat_map(named).collect()
    }

    /// The names of values of which nothing is long enough to be looked for in an image.
    pub fn short(&self) -> Vec<String> {
        let inner = self.read();
        let short = |value: &&Value| value.parts.secret.iter().all(|part| !forms::searchable(part));
        let searched = inner.values.iter().filter(|value| value.searched);
        searched.filter(short).map(|value| value.name.clone()).collect()
    }

    /// The values of which only parts are secret.
    pub fn documents(&self) -> Vec<Document> {
        let inner = self.read();
        let document = |value: &Value| {
            let distinct = |paths: &mut dyn Iterator<Item = &String>| {
                let mut places: Vec<String> = Vec::new();
                for path in paths {
                    if !places.contains(path) {
                        places.push(path.clone());
                    }
                }
                places
            };
            let secret = distinct(&mut value.parts.secret.iter().map(|part| &part.path));
            let mut open = distinct(&mut value.parts.open.iter());
            open.retain(|place| !secret.contains(place));
            Document { name: value.name.clone(), secret, open }
        };
        inner.values.iter().filter(|value| value.parts.document).map(document).collect()
    }
}

/// A text with masks in the place of ranges; what is no UTF-8 is replaced.
pub(crate) fn masked(text: &[u8], spans: &[Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for span in spans {
        out.push_str(&String::from_utf8_lossy(&text[at..span.start]));
        out.push_str(MASK);
        at = span.end;
    }
    out.push_str(&String::from_utf8_lossy(&text[at..]));
    out
}

#[cfg(test)]
mod tests;

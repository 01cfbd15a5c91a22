//! Names of a record's files.

use camino::{Utf8Path, Utf8PathBuf};

use crate::Home;

pub(super) const START: &str = "build.json";
pub(super) const PLAN: &str = "plan.json";
pub(super) const EVENTS: &str = "events.jsonl";
pub(super) const RESULT: &str = "result.json";
pub(super) const OUTPUT: &str = "output";

/// A build's folder.
pub(super) fn folder(home: &Home, id: &str) -> Utf8PathBuf {
    home.builds().join(id)
}

/// A text as part of a file's name.
pub(super) fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    text.chars().map(plain).take(40).collect()
}

/// Whether a name can be a build's: those that begin with a dot are the folder's own.
pub(super) fn is_id(name: &str) -> bool {
    !name.starts_with('.') && Utf8Path::new(name).components().count() == 1
}

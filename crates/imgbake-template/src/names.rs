//! Names and forms that the checker and the plan agree on.

use std::collections::BTreeMap;

use imgbake_types::plan::Checksum;

/// Names that a plan's own steps have.
pub(crate) const RESERVED: [&str; 6] = ["source", "boot", "seal", "capture", "publish", "verify"];

/// Gives out names in order: the author's own, else `KIND-N` where N counts all of that kind.
#[derive(Debug, Default)]
pub struct Names {
    seen: BTreeMap<String, usize>,
}

impl Names {
    /// Nothing named yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next one's name.
    pub fn next(&mut self, kind: &str, given: Option<&str>) -> String {
        let number = self.seen.entry(kind.to_owned()).or_default();
        *number += 1;
        given.map_or_else(|| format!("{kind}-{number}"), str::to_owned)
    }
}

/// Reads `[source] checksum`. The location of a sums file is as the author wrote it.
pub fn checksum(text: &str) -> Option<Checksum> {
    if text == "none" {
        return Some(Checksum::Unverified);
    }
    if let Some(location) = text.strip_prefix("file:").filter(|location| !location.is_empty()) {
        // `file:///…` is a URL as a whole.
        let location = if location.starts_with("//") { text } else { location };
        return Some(Checksum::Sums { location: location.to_owned() });
    }
    text.parse().ok().map(|digest| Checksum::Digest { digest })
}

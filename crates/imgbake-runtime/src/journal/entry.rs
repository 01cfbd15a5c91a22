//! A journal's lines.

use std::fmt;

use camino::Utf8PathBuf;
use imgbake_types::record::{Document, format};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "lowercase")]
pub enum Entry {
    /// A process that carries the job's mark, by its program's name.
    Process {
        /// The program.
        program: String,
    },
    /// A file or folder under `IMGBAKE_HOME`, or one elsewhere whose name holds the job's.
    Path {
        /// Where.
        path: Utf8PathBuf,
    },
    /// A resource outside this host: about to be made where it has no id, made where it has one. A later
    /// line of the same mark takes an earlier one's place.
    Remote(RemoteResource),
    /// A resource is gone.
    Removed {
        /// The resource's mark.
        mark: String,
    },
    /// A sweep could not remove a resource.
    Tried {
        /// The resource's mark.
        mark: String,
        /// When.
        at: Timestamp,
        /// Why not.
        why: String,
    },
    /// The user asked to keep what the job made: until `imgbake clean`.
    Kept,
}

impl Document for Entry {}

/// A resource outside this host, such as a cloud's instance, disk or key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteResource {
    /// What it is, and so which [`Cleaner`](super::Cleaner) removes it, such as `aws-instance`.
    pub kind: String,
    /// Where it is: the address of the service that has it.
    pub endpoint: String,
    /// A name that no other resource has. Whoever makes the resource gives it this mark, as a tag or as
    /// the request's idempotency token: so it is found when its id was never learnt.
    pub mark: String,
    /// The service's name for it; none between intent and completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What else its cleaner needs, such as a region or the name of a login. Never a secret: the journal
    /// is a plain file.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
}

impl fmt::Display for RemoteResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} {id} at {}", self.kind, self.endpoint),
            None => write!(f, "{} marked {} at {}", self.kind, self.mark, self.endpoint),
        }
    }
}

/// What a journal holds.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) known: Vec<Entry>,
    /// What a newer imgbake says that it made.
    pub(crate) unknown: Vec<String>,
}

impl Entries {
    /// The resources that are still there, each with the last failure to remove it.
    pub(super) fn remotes(&self) -> Vec<(RemoteResource, Option<(Timestamp, &str)>)> {
        let mut remotes: Vec<(RemoteResource, Option<(Timestamp, &str)>)> = Vec::new();
        for entry in &self.known {
            match entry {
                Entry::Remote(resource) => {
                    match remotes.iter_mut().find(|(known, _)| known.mark == resource.mark) {
                        Some((known, _)) => *known = resource.clone(),
                        None => remotes.push((resource.clone(), None)),
                    }
                }
                Entry::Removed { mark } => remotes.retain(|(known, _)| known.mark != *mark),
                Entry::Tried { mark, at, why } => {
                    if let Some((_, tried)) =
                        remotes.iter_mut().find(|(known, _)| known.mark == *mark)
                    {
                        *tried = Some((*at, why));
                    }
                }
                Entry::Process { .. } | Entry::Path { .. } | Entry::Kept => {}
            }
        }
        remotes
    }
}

/// Reads a journal. A kill or a full disk can cut a line; what it named was then never made.
pub(crate) fn read(text: &str) -> Entries {
    let mut entries = Entries::default();
    for line in text.lines() {
        if let Ok(entry) = format::read(line.as_bytes()) {
            entries.known.push(entry);
        } else if let Ok(Value::Object(object)) = serde_json::from_str(line) {
            let made = object.get("made").and_then(Value::as_str).unwrap_or("without a name");
            entries.unknown.push(made.to_owned());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_of_the_first_format_reads_as_before() {
        let text = "{\"made\":\"process\",\"program\":\"qemu\"}\n{\"made\":\"path\",\"path\":\"/home/work/x\"}\n{\"made\":\"kept\"}\n{\"made\":\"pa";
        let entries = read(text);
        let expected = [
            Entry::Process { program: "qemu".to_owned() },
            Entry::Path { path: "/home/work/x".into() },
            Entry::Kept,
        ];
        assert_eq!(entries.known, expected);
        assert!(entries.unknown.is_empty());
    }

    #[test]
    fn a_newer_entry_is_seen_and_a_newer_key_ignored() {
        let entries = read(
            "{\"made\":\"moon\",\"id\":4}\n{\"made\":\"kept\",\"until\":\"noon\"}\n{}\n\nnoise\n",
        );
        assert_eq!(entries.known, [Entry::Kept]);
        assert_eq!(entries.unknown, ["moon", "without a name"]);
        let path = Entry::Path { path: "/home/work/x".into() };
        let line = String::from_utf8(format::write(&path).unwrap()).unwrap();
        assert_eq!(line, r#"{"format":1,"made":"path","path":"/home/work/x"}"#);
        let entries = read(&format!("{line}\n{}", line.replace(":1,", ":2,")));
        assert_eq!(
            (&entries.known[..], &entries.unknown[..]),
            (&[path][..], &["path".to_owned()][..])
        );
    }

    #[test]
    fn the_last_word_on_a_resource_holds() {
        let intent = r#"{"made":"remote","kind":"vm","endpoint":"cloud","mark":"m1"}"#;
        let made = r#"{"made":"remote","kind":"vm","endpoint":"cloud","mark":"m1","id":"i-1"}"#;
        let tried = r#"{"made":"tried","mark":"m1","at":"2026-11-23T10:00:00Z","why":"busy"}"#;
        let removed = r#"{"made":"removed","mark":"m1"}"#;
        let ids = |lines: &[&str]| -> Vec<(Option<String>, bool)> {
            let entries = read(&lines.join("\n"));
            entries.remotes().into_iter().map(|(one, tried)| (one.id, tried.is_some())).collect()
        };
        assert_eq!(ids(&[intent]), [(None, false)]);
        assert_eq!(ids(&[intent, made]), [(Some("i-1".to_owned()), false)]);
        assert_eq!(ids(&[intent, made, tried]), [(Some("i-1".to_owned()), true)]);
        assert_eq!(ids(&[intent, made, tried, removed]), []);
        assert_eq!(ids(&[removed, tried]), []);
    }
}

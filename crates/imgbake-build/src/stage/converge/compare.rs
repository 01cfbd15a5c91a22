//! What is not the same in two states of a machine.

use std::collections::{BTreeMap, BTreeSet};

use imgbake_types::record::step::{Resource, ResourceOutcome};
use similar::TextDiff;

use super::state::{File, Look, Name, State};
use crate::BuildError;

/// Files of which a diff is shown.
const DIFFS: usize = 20;
/// Characters of a diff.
const MOST_DIFF: usize = 8 << 10;

/// The names of files whose content may differ though nothing else does.
pub(super) fn unsure<'s>(before: &'s State, after: &'s State) -> Vec<&'s Name> {
    let mut names = Vec::new();
    for (name, now) in &after.files {
        let Some(was) = before.files.get(name) else { continue };
        // The clock's steps are long for some file systems. Of another machine, nothing is known by its clock.
        let touched = now.changed != was.changed || now.changed >= before.began.saturating_sub(1);
        if touched && facts(was, now).is_empty() {
            names.push(name);
        }
    }
    names
}

/// What changed of a file, without its content.
fn facts(was: &File, now: &File) -> Vec<String> {
    let mut facts = Vec::new();
    if was.kind() != now.kind() {
        facts.push(format!("{} → {}", was.kind(), now.kind()));
        return facts;
    }
    if was.permissions() != now.permissions() {
        facts.push(format!("mode {:04o} → {:04o}", was.permissions(), now.permissions()));
    }
    if was.owner != now.owner {
        facts.push(format!("owner {} → {}", was.owner, now.owner));
    }
    if was.size != now.size {
        facts.push(format!("{} → {} bytes", was.size, now.size));
    }
    if now.is_device() && was.device != now.device {
        facts.push(format!("device {} → {}", was.device, now.device));
    }
    if was.links != now.links {
        facts.push(format!("{} → {} hard links", was.links, now.links));
    }
    facts
}

/// The differences, as resources that changed; files first, by name. The contents are of the files that
/// [`unsure`] names.
pub(super) fn differences(
    before: (&State, &BTreeMap<Name, String>),
    after: (&State, &BTreeMap<Name, String>),
) -> Vec<Resource> {
    let mut found = Vec::new();
    let unsure: BTreeSet<&Name> = unsure(before.0, after.0).into_iter().collect();
    let names: BTreeSet<&Name> = before.0.files.keys().chain(after.0.files.keys()).collect();
    for name in names {
        let words = match (before.0.files.get(name), after.0.files.get(name)) {
            (None, Some(now)) => format!("{} created", now.kind()),
            (Some(was), None) => format!("{} removed", was.kind()),
            (Some(was), Some(now)) => {
                let mut facts = facts(was, now);
                if unsure.contains(name) && (now.is_regular() || now.is_link()) {
                    match (before.1.get(name), after.1.get(name)) {
                        (Some(was), Some(now)) if was == now => {}
                        (Some(was), Some(now)) => facts.push(content(was, now)),
                        _ => facts.push("written, and cannot be read".to_owned()),
                    }
                } else if unsure.contains(name) && before.1.get(name) != after.1.get(name) {
                    facts.push("attributes changed".to_owned());
                }
                facts.join(", ")
            }
            (None, None) => String::new(),
        };
        if !words.is_empty() {
            found.push(changed("file", &String::from_utf8_lossy(name), words));
        }
    }
    let keys: BTreeSet<&(String, String)> =
        before.0.others.keys().chain(after.0.others.keys()).collect();
    for key in keys {
        let words = match (before.0.others.get(key), after.0.others.get(key)) {
            (None, Some(now)) => format!("added: {now}"),
            (Some(was), None) => format!("removed: {was}"),
            (Some(was), Some(now)) if was != now => format!("{was} → {now}"),
            _ => continue,
        };
        found.push(changed(&key.0, &key.1, words));
    }
    found
}

/// What of a file's content and attributes changed.
fn content(was: &str, now: &str) -> String {
    let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let what = if first(was) == first(now) { "attributes" } else { "content" };
    format!("{what} changed")
}

fn changed(kind: &str, name: &str, words: String) -> Resource {
    Resource { message: Some(words), ..Resource::new(kind, name, ResourceOutcome::Changed) }
}

/// Adds a diff to the first files whose content changed and is text.
pub(super) async fn add_diffs(
    found: &mut [Resource],
    before: Look<'_>,
    after: Look<'_>,
) -> Result<(), BuildError> {
    let is_content = |one: &&mut Resource| {
        one.kind == "file"
            && one
                .message
                .as_ref()
                .is_some_and(|words| words.contains("content changed") || words.contains(" bytes"))
    };
    for resource in found.iter_mut().filter(is_content).take(DIFFS) {
        let name = resource.name.as_bytes();
        let (was, now) = (before.text(name).await?, after.text(name).await?);
        if let (Some(was), Some(now)) = (was, now) {
            let diff = TextDiff::from_lines(&was, &now);
            let text = diff.unified_diff().context_radius(1).to_string();
            let text: String = text.trim_end().chars().take(MOST_DIFF).collect();
            resource.diff = Some(text).filter(|text| !text.is_empty());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, size: u64, changed: i64) -> File {
        File { mode, owner: "0:0".to_owned(), size, links: 1, changed, device: "1:3".to_owned() }
    }

    fn state(files: &[(&str, File)], others: &[(&str, &str, &str)]) -> State {
        let files = files.iter().map(|(name, file)| (name.as_bytes().to_vec(), file.clone()));
        let others = others.iter().map(|(kind, name, value)| {
            (((*kind).to_owned(), (*name).to_owned()), (*value).to_owned())
        });
        State { files: files.collect(), others: others.collect(), began: 100 }
    }

    #[test]
    fn each_kind_of_change_is_told_once() {
        let before = state(
            &[
                ("/same", file(0o100_644, 1, 5)),
                ("/touched", file(0o100_644, 1, 5)),
                ("/written", file(0o100_644, 1, 5)),
                ("/at-once", file(0o100_644, 1, 100)),
                ("/mode", file(0o100_644, 1, 5)),
                ("/grown", file(0o100_644, 1, 5)),
                ("/gone", file(0o040_755, 0, 5)),
                ("/kind", file(0o100_644, 1, 5)),
                ("/device", file(0o020_644, 0, 5)),
            ],
            &[("package", "a", "1"), ("package", "b", "1"), ("user", "root", "0")],
        );
        let after = state(
            &[
                ("/same", file(0o100_644, 1, 5)),
                ("/touched", file(0o100_644, 1, 105)),
                ("/written", file(0o100_644, 1, 105)),
                ("/at-once", file(0o100_644, 1, 100)),
                ("/mode", file(0o100_600, 1, 105)),
                ("/grown", file(0o100_644, 2, 105)),
                ("/kind", file(0o120_777, 1, 105)),
                ("/new", file(0o100_644, 1, 105)),
                ("/device", File { device: "1:5".to_owned(), ..file(0o020_644, 0, 105) }),
            ],
            &[("package", "a", "2"), ("user", "root", "0"), ("unit", "c.service", "enabled")],
        );
        let names: Vec<&[u8]> = unsure(&before, &after).into_iter().map(Vec::as_slice).collect();
        assert_eq!(names, [&b"/at-once"[..], b"/touched", b"/written"]);
        let contents = |written: &str, at_once: &str| {
            [("/touched", "x"), ("/written", written), ("/at-once", at_once)]
                .map(|(name, text)| (name.as_bytes().to_vec(), text.to_owned()))
                .into()
        };
        let found =
            differences((&before, &contents("x", "x")), (&after, &contents("y", "x\nuser.a=1")));
        let told: Vec<String> = found
            .iter()
            .map(|one| format!("{}[{}] {}", one.kind, one.name, one.message.clone().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                "file[/at-once] attributes changed",
                "file[/device] device 1:3 → 1:5",
                "file[/gone] folder removed",
                "file[/grown] 1 → 2 bytes",
                "file[/kind] file → link",
                "file[/mode] mode 0644 → 0600",
                "file[/new] file created",
                "file[/written] content changed",
                "package[a] 1 → 2",
                "package[b] removed: 1",
                "unit[c.service] added: enabled",
            ]
        );
        // Nothing is known of what cannot be read: it is not taken for the same.
        let nothing = BTreeMap::new();
        let unread = differences((&before, &nothing), (&after, &nothing));
        assert_eq!(unread.len(), found.len() + 1);
    }
}

//! What is not the same in two states of a machine.

use std::collections::{BTreeMap, BTreeSet};

use imgbake_types::record::step::{Resource, ResourceOutcome};
use similar::TextDiff;

use super::state::{File, Inspector, NO_ATTRIBUTES, Name, State};
use crate::BuildError;

/// Files of which a diff is shown.
const DIFFS: usize = 20;
/// Files whose text is read for that.
const CANDIDATES: usize = 200;
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

/// What is not the same in two states.
pub(super) struct Difference {
    /// It, as a resource that changed.
    pub(super) resource: Resource,
    /// The file, where its content changed and every user of the machine may read it: a diff may be shown.
    public: Option<Name>,
}

/// The differences; files first, by name. The contents are of the files that [`unsure`] names.
pub(super) fn differences(
    before: (&State, &Contents),
    after: (&State, &Contents),
) -> Vec<Difference> {
    let mut found = Vec::new();
    let unsure: BTreeSet<&Name> = unsure(before.0, after.0).into_iter().collect();
    let names: BTreeSet<&Name> = before.0.files.keys().chain(after.0.files.keys()).collect();
    for name in names {
        let mut public = None;
        let message = match (before.0.files.get(name), after.0.files.get(name)) {
            (None, Some(now)) => format!("{} created", now.kind()),
            (Some(was), None) => format!("{} removed", was.kind()),
            (Some(was), Some(now)) => {
                let mut facts = facts(was, now);
                let contents = (before.1.get(name), after.1.get(name));
                facts.extend(unsure.contains(name).then(|| content(now, contents)).flatten());
                let changed = was.size != now.size || facts.iter().any(|fact| fact == CONTENT);
                let regular = was.is_regular() && now.is_regular();
                let public_in = |state: &State| state.is_public(name);
                public = (regular && changed && public_in(before.0) && public_in(after.0))
                    .then(|| name.clone());
                facts.join(", ")
            }
            (None, None) => String::new(),
        };
        if !message.is_empty() {
            let resource = changed("file", &String::from_utf8_lossy(name), message);
            found.push(Difference { resource, public });
        }
    }
    let keys: BTreeSet<&(String, String)> =
        before.0.others.keys().chain(after.0.others.keys()).collect();
    for key in keys {
        let message = match (before.0.others.get(key), after.0.others.get(key)) {
            (None, Some(now)) => format!("added: {now}"),
            (Some(was), None) => format!("removed: {was}"),
            (Some(was), Some(now)) if was != now => format!("{was} → {now}"),
            _ => continue,
        };
        found.push(Difference { resource: changed(&key.0, &key.1, message), public: None });
    }
    found
}

/// What is said of a file whose bytes changed.
const CONTENT: &str = "content changed";

/// What of a file's content and attributes changed, if anything did. What cannot be read is not taken for the same.
fn content(file: &File, contents: (Option<&String>, Option<&String>)) -> Option<String> {
    let first = |text: &String| text.lines().next().unwrap_or_default().to_owned();
    let read = file.is_regular() || file.is_link();
    let what = match contents {
        (Some(was), Some(now)) if was == now => return None,
        (None, None) if !read => return None,
        (Some(was), Some(now)) if read && first(was) != first(now) => CONTENT,
        (Some(_), Some(_)) => "attributes changed",
        _ if read => "written, and cannot be read",
        _ => "attributes changed",
    };
    Some(what.to_owned())
}

fn changed(kind: &str, name: &str, message: String) -> Resource {
    Resource { message: Some(message), ..Resource::new(kind, name, ResourceOutcome::Changed) }
}

/// What was read of files, by name.
pub(super) type Contents = BTreeMap<Name, String>;

/// A machine after the second run, as far as it may differ from before.
pub(super) struct After {
    state: State,
    /// Of the files that [`unsure`] names.
    contents: Contents,
    /// The begin of files that may have changed, as far as they are text and no secret of some users of the machine.
    texts: BTreeMap<Name, String>,
}

impl After {
    /// Reads a machine.
    ///
    /// # Errors
    /// An interrupt, or a list that did not come whole.
    pub(super) async fn read(
        inspector: Inspector<'_>,
        before: &State,
        ignored: &[&str],
    ) -> Result<Self, BuildError> {
        let state = inspector.state(ignored).await?;
        let names = unsure(before, &state);
        let contents = inspector.contents(&state, names.iter().copied()).await?;
        let grown = state.files.iter().filter(|(name, now)| {
            now.is_regular() && before.files.get(*name).is_some_and(|was| was.size != now.size)
        });
        let candidates: Vec<Name> =
            grown.map(|(name, _)| name).chain(names).take(CANDIDATES).cloned().collect();
        let mut texts = BTreeMap::new();
        for name in candidates {
            if before.is_public(&name)
                && state.is_public(&name)
                && let Some(text) = inspector.text(&name).await?
            {
                texts.insert(name, text);
            }
        }
        Ok(Self { state, contents, texts })
    }

    /// Whether the machine could read extended attributes.
    pub(super) fn has_attributes(&self) -> bool {
        !self.contents.contains_key(NO_ATTRIBUTES)
    }

    /// What is not the same as before; the contents are of all files then.
    pub(super) fn compared(&self, before: &State, contents: &Contents) -> Vec<Difference> {
        differences((before, contents), (&self.state, &self.contents))
    }

    /// The same with another machine that still is what this one was before, with diffs.
    ///
    /// # Errors
    /// An interrupt, or files that cannot be read there.
    pub(super) async fn compared_with_copy(
        &self,
        before: &State,
        earlier: Inspector<'_>,
    ) -> Result<Vec<Difference>, BuildError> {
        let names = unsure(before, &self.state);
        let contents = earlier.contents(before, names).await?;
        let mut found = self.compared(before, &contents);
        for one in found.iter_mut().filter(|one| one.public.is_some()).take(DIFFS) {
            let Some(name) = &one.public else { continue };
            let (was, now) = (earlier.text(name).await?, self.texts.get(name));
            if let (Some(was), Some(now)) = (was, now) {
                let diff = TextDiff::from_lines(&was, now);
                let text = diff.unified_diff().context_radius(1).to_string();
                let text: String = text.trim_end().chars().take(MOST_DIFF).collect();
                one.resource.diff = Some(text).filter(|text| !text.is_empty());
            }
        }
        Ok(found)
    }
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
    fn each_kind_of_change_is_reported_once() {
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
        let messages: Vec<String> = found
            .iter()
            .map(|Difference { resource: one, .. }| {
                format!("{}[{}] {}", one.kind, one.name, one.message.clone().unwrap())
            })
            .collect();
        assert_eq!(
            messages,
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
        // No diff of what some users may not read, and of nothing below the folder that is not theirs.
        let shown = |found: &[Difference]| -> Vec<Name> {
            found.iter().filter_map(|one| one.public.clone()).collect()
        };
        assert!(shown(&found).is_empty(), "the folder on the way is not known");
        let below = |mode: u32| {
            let mut states = [state(&[], &[]), state(&[], &[])];
            for (state, size) in states.iter_mut().zip([1, 2]) {
                for (name, mode) in [("/", 0o040_755), ("/a", mode), ("/a/b", 0o100_644)] {
                    let size = if name == "/a/b" { size } else { 0 };
                    state.files.insert(name.as_bytes().to_vec(), file(mode, size, 5));
                }
                state.files.insert(b"/key".to_vec(), file(0o100_640, size, 5));
            }
            let nothing = BTreeMap::new();
            shown(&differences((&states[0], &nothing), (&states[1], &nothing)))
        };
        assert_eq!(below(0o040_711), [b"/a/b".to_vec()]);
        assert!(below(0o040_700).is_empty());
        // Nothing is known of what cannot be read: it is not taken for the same.
        let nothing = BTreeMap::new();
        let unread = differences((&before, &nothing), (&after, &nothing));
        assert_eq!(unread.len(), found.len() + 1);
    }
}

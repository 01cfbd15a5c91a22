//! The first phase's end: versions lose their names, with what is attached to them.

use std::collections::{BTreeMap, HashMap, HashSet};

use imgbake_types::Digest;

use crate::index::{Index, Tagged};
use crate::reachable::{Documents, Reachable};
use crate::tags;

/// Takes the names away from versions, given by name and tag, with all that is attached to them, to their manifests or to what is
/// attached to these. What something that stays needs as well keeps its attachments.
pub(super) fn untag<'v>(
    documents: &mut Documents<'_>,
    index: &mut Index,
    gone: impl IntoIterator<Item = (&'v str, &'v str)>,
) {
    let mut going: HashMap<String, HashSet<String>> = HashMap::new();
    for (name, tag) in gone {
        going.entry(name.to_owned()).or_default().insert(tag.to_owned());
    }
    let mut images: HashMap<&str, Image<'_>> = HashMap::new();
    for entry in index.tagged() {
        if let Some(tags) = going.get(entry.name) {
            images.entry(entry.name).or_default().add(entry, tags.contains(entry.tag));
        }
    }
    for (name, image) in images {
        let attached = image.attached_to_gone(documents);
        going.entry(name.to_owned()).or_default().extend(attached);
    }
    index.remove(|name, tag| going.get(name).is_some_and(|tags| tags.contains(tag)));
}

/// An image's tags.
#[derive(Default)]
struct Image<'a> {
    stay: Vec<Tagged<'a>>,
    go: Vec<Tagged<'a>>,
    /// By what they are about.
    attached: BTreeMap<Digest, Vec<Tagged<'a>>>,
}

impl<'a> Image<'a> {
    fn add(&mut self, entry: Tagged<'a>, goes: bool) {
        match tags::subject(entry.tag) {
            Some(subject) => self.attached.entry(subject).or_default().push(entry),
            None if goes => self.go.push(entry),
            None => self.stay.push(entry),
        }
    }

    /// The tags that are about what goes and about nothing that stays.
    fn attached_to_gone(&self, documents: &mut Documents<'_>) -> Vec<String> {
        let goes = self.reached(documents, &self.go);
        let stays = self.reached(documents, &self.stay);
        let alone = |subject: &Digest| goes.contains_key(subject) && !stays.contains_key(subject);
        let alone = self.attached.iter().filter(|(subject, _)| alone(subject));
        alone.flat_map(|(_, entries)| entries).map(|entry| entry.tag.to_owned()).collect()
    }

    /// All that some tags lead to, with what is attached to any of it.
    fn reached(&self, documents: &mut Documents<'_>, from: &[Tagged<'_>]) -> Reachable {
        let mut reached = Reachable::new();
        documents.reach(from.iter().map(|entry| entry.descriptor), &mut reached);
        let mut open: Vec<_> = self.attached.iter().collect();
        loop {
            let (found, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|(subject, _)| reached.contains_key(*subject));
            if found.is_empty() {
                return reached;
            }
            let entries = found.into_iter().flat_map(|(_, entries)| entries);
            documents.reach(entries.map(|entry| entry.descriptor), &mut reached);
            open = rest;
        }
    }
}

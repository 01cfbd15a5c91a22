//! Evidence in the local layout: referrers of a version (image-spec v1.1, manifest.md, `subject`), listed
//! under the fallback tag (distribution-spec v1.1, "Referrers Tag Schema"). Whether one was recorded here
//! or came with a copy is an annotation of its descriptor in that list.

mod layout;
pub(crate) mod remote;

use imgbake_build::evidence::{EvidenceItem, EvidenceKind, EvidenceList, NewestVerify, Origin};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Digest;
use imgbake_types::record::UnreadableEvidence;
use jiff::Timestamp;

use crate::Result;
use crate::change::Change;
use crate::files::damaged;
use crate::index::{Index, Names, Tagged};
use crate::oci::{CREATED, Descriptor, Manifest};
use crate::problem::problem_of;
use crate::store::Store;
use crate::tags;
use crate::version::of_name;

/// How a referrer came into a layout's list: [`RECORDED`] or [`COPIED`].
const ORIGIN: &str = "io.imgbake.origin";
const RECORDED: &str = "recorded";
const COPIED: &str = "copied";

/// Attaches a document to a version, or to what is attached to one.
pub(crate) fn attach(
    store: &Store,
    name: &str,
    subject: &Digest,
    kind: &EvidenceKind,
    time: Timestamp,
    document: Vec<u8>,
) -> Result<EvidenceItem> {
    let mut change = Change::begin(store)?;
    let target = find_subject(store, &change.index, name, subject)?;
    let tag = tags::referrers(subject);
    let mut list = match change.index.find(name, &tag) {
        Some(entry) => read_list(store, entry)?,
        None => Index::default(),
    };
    let layer = change.bytes(kind.media_type(), document.clone());
    let config = change.empty_config();
    let mut manifest = Manifest::new(kind.media_type(), config, vec![layer]);
    manifest.subject = Some(target);
    manifest.annotations.insert(CREATED.to_owned(), time.to_string());
    let mut entry = change.manifest(&manifest)?;
    entry.annotations.clone_from(&manifest.annotations);
    let digest = entry.digest.clone();
    mark(&mut entry, Origin::Recorded);
    list.manifests.retain(|other| other.digest != digest);
    list.manifests.push(entry);
    let list = change.nested_index(&list)?;
    change.index.set(name, &tag, list);
    change.commit()?;
    let media_type = kind.media_type().to_owned();
    let (kind, origin) = (kind.clone(), Origin::Recorded);
    Ok(EvidenceItem { digest, kind, media_type, time: Some(time), origin, document })
}

/// Writes into a list's descriptor how its referrer came there.
pub(crate) fn mark(entry: &mut Descriptor, origin: Origin) {
    let word = match origin {
        Origin::Recorded => RECORDED,
        Origin::Copied => COPIED,
        Origin::Unknown => return,
    };
    entry.annotations.insert(ORIGIN.to_owned(), word.to_owned());
}

fn origin(entry: &Descriptor) -> Origin {
    match entry.annotations.get(ORIGIN).map(String::as_str) {
        Some(RECORDED) => Origin::Recorded,
        Some(COPIED) => Origin::Copied,
        _ => Origin::Unknown,
    }
}

/// What something is attached to: a version, or another attachment.
fn find_subject(store: &Store, index: &Index, name: &str, subject: &Digest) -> Result<Descriptor> {
    let version = of_name(index, name).find(|entry| entry.descriptor.digest == *subject);
    if let Some(version) = version {
        return Ok(version.descriptor.bare());
    }
    let lists =
        index.tagged().filter(|entry| entry.name == name && tags::subject(entry.tag).is_some());
    for list in lists {
        let list = read_list(store, list)?;
        if let Some(entry) = list.manifests.iter().find(|entry| entry.digest == *subject) {
            return Ok(entry.bare());
        }
    }
    let what = format!("there is no version {name}@{subject}");
    Err(BuildError::new(BuildErrorKind::NotFound, what))
}

fn read_list(store: &Store, list: Tagged<'_>) -> Result<Index> {
    store.blobs.json(list.descriptor, &list.label())
}

/// What is attached to a version; of one kind, or of all.
pub(crate) fn list(
    store: &Store,
    names: &Names<'_>,
    name: &str,
    subject: &Digest,
    kind: Option<&EvidenceKind>,
) -> EvidenceList {
    let Some(tagged) = names.find(name, &tags::referrers(subject)) else {
        return EvidenceList::default();
    };
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    let mut lost = |entry: &Descriptor, error: &BuildError| {
        let problem = problem_of(error);
        unreadable.push(UnreadableEvidence { digest: entry.digest.clone(), problem });
    };
    match read_list(store, tagged) {
        Err(error) => lost(tagged.descriptor, &error),
        Ok(referrers) => {
            for entry in referrers.manifests.iter().filter(|entry| may_be(entry, kind)) {
                match read(store, entry, name, subject, kind) {
                    Ok(item) => items.extend(item),
                    Err(error) => lost(entry, &error),
                }
            }
        }
    }
    EvidenceList::new(items, unreadable)
}

/// Whether a descriptor may be of a kind. skopeo 1.9 leaves the type out when it copies a list: then the
/// manifest itself says it.
pub(crate) fn may_be(entry: &Descriptor, kind: Option<&EvidenceKind>) -> bool {
    let wanted = kind.map(EvidenceKind::media_type);
    let own = entry.artifact_type.as_deref();
    wanted.zip(own).is_none_or(|(wanted, own)| wanted == own)
}

fn read(
    store: &Store,
    entry: &Descriptor,
    name: &str,
    subject: &Digest,
    kind: Option<&EvidenceKind>,
) -> Result<Option<EvidenceItem>> {
    let owner = format!("the evidence {} of {name}@{subject}", entry.digest);
    let manifest: Manifest = store.blobs.json(entry, &owner)?;
    let Some((layer, mut item)) = item_of(&manifest, entry, kind, &owner)? else { return Ok(None) };
    item.document = store.blobs.read(layer, &owner)?;
    item.origin = origin(entry);
    Ok(Some(item))
}

/// What a referrer's manifest says of it, without the document, and where that is; `None` where it is of
/// another kind.
pub(crate) fn item_of<'a>(
    manifest: &'a Manifest,
    entry: &Descriptor,
    kind: Option<&EvidenceKind>,
    owner: &str,
) -> Result<Option<(&'a Descriptor, EvidenceItem)>> {
    let own = manifest.artifact_type.as_ref().unwrap_or(&manifest.config.media_type);
    if kind.is_some_and(|kind| kind.media_type() != own) {
        return Ok(None);
    }
    let [layer] = &manifest.layers[..] else {
        return Err(damaged(format!("{owner} has {} layers, not one", manifest.layers.len())));
    };
    let time = manifest.annotations.get(CREATED).and_then(|time| time.parse().ok());
    let item = EvidenceItem {
        digest: entry.digest.clone(),
        kind: EvidenceKind::new(own.clone()),
        media_type: layer.media_type.clone(),
        time,
        origin: Origin::Unknown,
        document: Vec::new(),
    };
    Ok(Some((layer, item)))
}

/// A version's newest verify record.
pub(crate) fn newest_verify(
    store: &Store,
    names: &Names<'_>,
    name: &str,
    subject: &Digest,
) -> NewestVerify {
    list(store, names, name, subject, Some(&EvidenceKind::VERIFY)).newest_verify(subject)
}

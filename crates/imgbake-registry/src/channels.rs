//! Channels and their histories: a chain of records, each with the digest of the one before.

use std::collections::BTreeSet;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::Digest;
use imgbake_types::record::{ChannelMove, VersionRef};

use crate::Result;
use crate::change::Change;
use crate::files::damaged;
use crate::given::Given;
use crate::index::Index;
use crate::missing;
use crate::oci::{CREATED, Descriptor, MOVE, Manifest, PREVIOUS};
use crate::store::Store;
use crate::tags::{self, check_channel};
use crate::versions::{config, is_version, version_index};

/// The longest history that is read.
const LONGEST: usize = 100_000;

/// Points a channel at a version and adds the move to its history: both names change at once.
pub(crate) fn move_channel(
    store: &Store,
    name: &str,
    mut entry: ChannelMove,
) -> Result<ChannelMove> {
    check_channel(&entry.channel)?;
    let mut change = Change::begin(store)?;
    let version = target(store, &change.index, name, &entry.to)?;
    entry.from = current(store, &change.index, name, &entry.channel)?;
    let head = tags::history(&entry.channel);

    let layer = change.document(MOVE, &entry)?;
    let config = change.empty_config();
    let mut record = Manifest::new(MOVE, config, vec![layer]);
    record.subject = Some(version.bare());
    record.annotations.insert(CREATED.to_owned(), entry.time.to_string());
    if let Some(previous) = change.index.find(name, &head) {
        record.annotations.insert(PREVIOUS.to_owned(), previous.descriptor.digest.to_string());
    }
    let record = change.manifest(&record)?;
    change.index.set(name, &entry.channel, version);
    change.index.set(name, &head, record);
    change.commit()?;
    Ok(entry)
}

/// The descriptor of the version that a channel shall point at.
fn target(store: &Store, index: &Index, name: &str, to: &VersionRef) -> Result<Descriptor> {
    let entry = index
        .find(name, to.version.as_str())
        .ok_or_else(|| missing::channel(store, index, name, to.version.as_str()))?;
    if !is_version(store, entry)? {
        return Err(BuildError::new(
            BuildErrorKind::Usage,
            format!("{} is no version", entry.label()),
        ));
    }
    if entry.descriptor.digest != to.digest {
        return Err(damaged(format!(
            "{} is {}, not {}",
            entry.label(),
            entry.descriptor.digest,
            to.digest
        )));
    }
    let mut descriptor = entry.descriptor.bare();
    descriptor.artifact_type.clone_from(&entry.descriptor.artifact_type);
    Ok(descriptor)
}

/// Where a channel points now.
fn current(store: &Store, index: &Index, name: &str, channel: &str) -> Result<Option<VersionRef>> {
    let Some(entry) = index.find(name, channel) else {
        if Given::read(store)?.find(name, channel).is_none() {
            return Ok(None);
        }
        let text = format!("`{channel}` cannot be a channel: {name}:{channel} was a version");
        return Err(BuildError::new(BuildErrorKind::Usage, text)
            .help("choose a name such as dev, staging or prod"));
    };
    if is_version(store, entry)? {
        let text = format!("`{channel}` cannot be a channel: {} is a version", entry.label());
        return Err(BuildError::new(BuildErrorKind::Usage, text)
            .help("choose a name such as dev, staging or prod"));
    }
    let Some(version) = version_index(store, entry)? else {
        let text = format!(
            "`{channel}` cannot be moved: {} is no version that this imgbake can read",
            entry.label()
        );
        return Err(BuildError::new(BuildErrorKind::Usage, text).help(format!(
            "another tool or an imgbake before this format put it there: move {} away, or set IMGBAKE_HOME",
            store.root()
        )));
    };
    let config = config(store, &version, &entry.label())?;
    Ok(Some(VersionRef { version: config.image.version, digest: entry.descriptor.digest.clone() }))
}

/// A channel's moves, newest first.
pub(crate) fn history(store: &Store, name: &str, channel: &str) -> Result<Vec<ChannelMove>> {
    check_channel(channel)?;
    let index = store.index()?;
    let head = index.find(name, &tags::history(channel));
    let head = head.ok_or_else(|| missing::channel(store, &index, name, channel))?;
    moves(store, &format!("{name}:{channel}"), head.descriptor)
}

/// The moves of a channel, from the newest one's record on.
pub(crate) fn moves(store: &Store, label: &str, head: &Descriptor) -> Result<Vec<ChannelMove>> {
    let owner = format!("the history of {label}");
    let mut next = Some(head.clone());
    let mut moves = Vec::new();
    let mut seen = BTreeSet::new();
    while let Some(descriptor) = next {
        if moves.len() >= LONGEST || !seen.insert(descriptor.digest.clone()) {
            return Err(damaged(format!(
                "{owner} does not end: it is longer than {LONGEST} moves, or a circle"
            )));
        }
        let record: Manifest = store.blobs.json(&descriptor, &owner)?;
        let [layer] = &record.layers[..] else {
            return Err(damaged(format!(
                "{owner} has a record with {} layers, not one",
                record.layers.len()
            )));
        };
        moves.push(store.blobs.json(layer, &owner)?);
        next = before(store, &record, &owner)?;
    }
    Ok(moves)
}

/// The record before this one.
fn before(store: &Store, record: &Manifest, owner: &str) -> Result<Option<Descriptor>> {
    let Some(digest) = record.annotations.get(PREVIOUS) else { return Ok(None) };
    let digest: Digest = digest
        .parse()
        .map_err(|error| damaged(format!("{owner} has a broken link")).because(error))?;
    let path = store.blobs.path(&digest);
    let previous = crate::reach::previous(store, record);
    previous.map(Some).ok_or_else(|| crate::blobs::missing(owner, &digest, &path))
}

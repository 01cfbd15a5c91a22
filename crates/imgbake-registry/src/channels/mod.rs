//! Channels and their histories: a chain of records, each with the digest of the one before.

mod chain;
mod layout;
mod remote;

use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::record::{
    ChannelMove, ChannelState, ComposedMove, RecordedMove, Swap, VersionRef,
};
use imgbake_types::{ChannelName, Digest};

use self::chain::{Chain, Link};
use crate::Result;
use crate::change::Change;
use crate::files::damaged;
use crate::index::Index;
use crate::not_found;
use crate::oci::{Descriptor, MANIFEST, MOVE, Manifest};
use crate::retired_names::RetiredNames;
use crate::store::Store;
use crate::tags;
use crate::version::{config, is_version, version_index};

/// Makes a move if the channel is where the move expects it. Both names change at once: the channel, and
/// its newest record.
pub(crate) fn swap(store: &Store, name: &str, composed: &ComposedMove) -> Result<Swap> {
    let entry = composed.entry();
    let channel = checked(&entry.channel)?;
    let mut change = Change::begin(store)?;
    let version = target(store, &change.index, name, &entry.to)?;
    let state = state_in(store, &change.index, name, channel)?;
    if !state.expects(entry) {
        return Ok(Swap::Lost(state));
    }
    check_number(&state, entry)?;
    let document = change.bytes(MOVE, composed.bytes().to_vec());
    let config = change.empty_config();
    let record = change.manifest(&chain::record(composed, document, config, &version)?)?;
    let digest = record.digest.clone();
    change.index.set(name, channel.as_str(), version);
    change.index.set(name, &tags::history(channel.as_str()), record);
    change.commit()?;
    Ok(Swap::Moved(composed.recorded(digest)))
}

/// A stored name may be one that people cannot write.
fn checked(channel: &ChannelName) -> Result<&ChannelName> {
    channel.as_str().parse::<ChannelName>()?;
    Ok(channel)
}

/// A move that expects the right record has the right number, or was composed wrongly.
fn check_number(state: &ChannelState, entry: &ChannelMove) -> Result<()> {
    let (number, next) = (entry.number, state.next_number());
    if number == next {
        return Ok(());
    }
    Err(damaged(format!("the move has the number {number}, where the next one is {next}")))
}

/// Where a channel is.
pub(crate) fn state(store: &Store, name: &str, channel: &ChannelName) -> Result<ChannelState> {
    state_in(store, &store.index()?, name, channel)
}

fn state_in(
    store: &Store,
    index: &Index,
    name: &str,
    channel: &ChannelName,
) -> Result<ChannelState> {
    let target = current(store, index, name, channel.as_str())?;
    let head = index.find(name, &tags::history(channel.as_str()));
    let head = head.map(|head| newest(store, name, channel, head.descriptor)).transpose()?;
    Ok(ChannelState { head, target })
}

/// The newest record with its number: one of before has to be counted.
fn newest(
    store: &Store,
    name: &str,
    channel: &ChannelName,
    head: &Descriptor,
) -> Result<RecordedMove> {
    let label = format!("{name}:{channel}");
    if let Some(numbered) = link(store, &owner(&label), head)?.numbered() {
        return Ok(numbered);
    }
    let newest = moves(store, &label, head)?.into_iter().next();
    newest.ok_or_else(|| damaged(format!("{} is empty", owner(&label))))
}

/// The descriptor of the version that a channel shall point at.
fn target(store: &Store, index: &Index, name: &str, to: &VersionRef) -> Result<Descriptor> {
    let entry = index
        .find(name, to.version.as_str())
        .ok_or_else(|| not_found::channel(store, index, name, to.version.as_str()))?;
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
        if RetiredNames::read(store)?.find(name, channel).is_none() {
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
    Ok(Some(VersionRef { version: config.version, digest: entry.descriptor.digest.clone() }))
}

/// A channel's moves, newest first.
pub(crate) fn history(
    store: &Store,
    name: &str,
    channel: &ChannelName,
) -> Result<Vec<RecordedMove>> {
    let index = store.index()?;
    let head = index.find(name, &tags::history(channel.as_str()));
    let head = head.ok_or_else(|| not_found::channel(store, &index, name, channel.as_str()))?;
    moves(store, &format!("{name}:{channel}"), head.descriptor)
}

/// The moves of a channel, from the newest one's record on.
pub(crate) fn moves(store: &Store, label: &str, head: &Descriptor) -> Result<Vec<RecordedMove>> {
    let owner = owner(label);
    let mut chain = Chain::new(&owner);
    let mut next = Some(head.clone());
    while let Some(descriptor) = next {
        let previous = chain.add(link(store, &owner, &descriptor)?)?;
        next = previous.map(|digest| before(store, &digest, &owner)).transpose()?;
    }
    chain.end()
}

fn owner(label: &str) -> String {
    format!("the history of {label}")
}

fn link(store: &Store, owner: &str, descriptor: &Descriptor) -> Result<Link> {
    let manifest: Manifest = store.blobs.json(descriptor, owner)?;
    let document = store.blobs.read(chain::document(&manifest, owner)?, owner)?;
    Link::new(descriptor.digest.clone(), &manifest, document, owner)
}

/// The record before another.
fn before(store: &Store, digest: &Digest, owner: &str) -> Result<Descriptor> {
    let path = store.blobs.path(digest);
    let Ok(metadata) = path.metadata() else {
        return Err(crate::blobs::missing(owner, digest, &path));
    };
    Ok(Descriptor::new(MANIFEST, digest.clone(), metadata.len()))
}

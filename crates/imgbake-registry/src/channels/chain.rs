//! The chain of a channel's records, wherever they are stored: each names the one before it.

use std::collections::BTreeSet;

use imgbake_types::Digest;
use imgbake_types::record::{ChannelMove, RecordedMove};

use crate::Result;
use crate::files::damaged;
use crate::oci::{CREATED, Descriptor, MOVE, Manifest, PREVIOUS};

/// The longest history that is read.
const LONGEST: usize = 100_000;

/// One record of a chain.
#[derive(Debug)]
pub(crate) struct Link {
    record: Digest,
    entry: ChannelMove,
    /// The record before.
    pub(crate) previous: Option<Digest>,
}

impl Link {
    /// Joins a record and its document, which must agree.
    pub(crate) fn new(
        record: Digest,
        manifest: &Manifest,
        entry: ChannelMove,
        owner: &str,
    ) -> Result<Self> {
        let previous = manifest.annotations.get(PREVIOUS);
        let previous: Option<Digest> = previous
            .map(|digest| digest.parse())
            .transpose()
            .map_err(|error| damaged(format!("{owner} has a broken link")).because(error))?;
        if entry.number != 0 && entry.previous != previous {
            return Err(damaged(format!("{owner} has a record with two records before it")));
        }
        Ok(Self { record, entry, previous })
    }

    /// The record's digest.
    pub(crate) const fn record(&self) -> &Digest {
        &self.record
    }

    /// The record, where it states its number.
    pub(crate) fn numbered(self) -> Option<RecordedMove> {
        (self.entry.number != 0).then_some(RecordedMove { record: self.record, entry: self.entry })
    }
}

/// A chain that is being read, newest record first.
#[derive(Debug)]
pub(crate) struct Chain<'a> {
    owner: &'a str,
    links: Vec<Link>,
    seen: BTreeSet<Digest>,
}

impl<'a> Chain<'a> {
    pub(crate) fn new(owner: &'a str) -> Self {
        Self { owner, links: Vec::new(), seen: BTreeSet::new() }
    }

    /// Adds a record; gives the one to read next.
    pub(crate) fn add(&mut self, link: Link) -> Result<Option<Digest>> {
        if self.links.len() >= LONGEST || !self.seen.insert(link.record.clone()) {
            return Err(damaged(format!(
                "{} does not end: it is longer than {LONGEST} moves, or a circle",
                self.owner
            )));
        }
        let previous = link.previous.clone();
        self.links.push(link);
        Ok(previous)
    }

    /// All records, each with its number.
    pub(crate) fn end(self) -> Result<Vec<RecordedMove>> {
        let count = self.links.len();
        let numbered = self.links.into_iter().enumerate().map(|(index, mut link)| {
            let number = (count - index) as u64;
            if link.entry.number != 0 && link.entry.number != number {
                let (owner, says) = (self.owner, link.entry.number);
                let what = format!("{owner} has move {says} where move {number} should be");
                return Err(damaged(what));
            }
            link.entry.number = number;
            Ok(RecordedMove { record: link.record, entry: link.entry })
        });
        numbered.collect()
    }
}

/// The one layer of a record: its document.
pub(crate) fn document<'a>(manifest: &'a Manifest, owner: &str) -> Result<&'a Descriptor> {
    match &manifest.layers[..] {
        [layer] => Ok(layer),
        layers => {
            Err(damaged(format!("{owner} has a record with {} layers, not one", layers.len())))
        }
    }
}

/// The manifest of a move's record.
pub(crate) fn record(
    entry: &ChannelMove,
    document: Descriptor,
    config: Descriptor,
    version: &Descriptor,
) -> Manifest {
    let mut record = Manifest::new(MOVE, config, vec![document]);
    record.subject = Some(version.bare());
    record.annotations.insert(CREATED.to_owned(), entry.time.to_string());
    if let Some(previous) = &entry.previous {
        record.annotations.insert(PREVIOUS.to_owned(), previous.to_string());
    }
    record
}

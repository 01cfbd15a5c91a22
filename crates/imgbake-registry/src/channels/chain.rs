//! The chain of a channel's records, wherever they are stored: each names the one before it.

use std::collections::BTreeSet;

use imgbake_types::Digest;
use imgbake_types::record::{ChannelMove, ComposedMove, MoveSignature, RecordedMove};

use crate::Result;
use crate::files::{damaged, parse};
use crate::oci::{CREATED, Descriptor, MOVE, Manifest, PREVIOUS, SIGNATURES};

/// The longest history that is read.
const LONGEST: usize = 100_000;

/// One record of a chain.
#[derive(Debug)]
pub(crate) struct Link {
    /// The move, without a number where its document states none.
    moved: RecordedMove,
    /// The record before.
    pub(crate) previous: Option<Digest>,
}

impl Link {
    /// Joins a record and its document, which must agree.
    pub(crate) fn new(
        record: Digest,
        manifest: &Manifest,
        document: Vec<u8>,
        owner: &str,
    ) -> Result<Self> {
        let entry: ChannelMove = parse(&document, &format!("a record of {owner}"))?;
        let previous = manifest.annotations.get(PREVIOUS);
        let previous: Option<Digest> = previous
            .map(|digest| digest.parse())
            .transpose()
            .map_err(|error| damaged(format!("{owner} has a broken link")).because(error))?;
        if entry.number != 0 && entry.previous != previous {
            return Err(damaged(format!("{owner} has a record with two records before it")));
        }
        let signatures: Vec<MoveSignature> = match manifest.annotations.get(SIGNATURES) {
            Some(text) => {
                parse(text.as_bytes(), &format!("the signatures of a record of {owner}"))?
            }
            None => Vec::new(),
        };
        Ok(Self { moved: RecordedMove { record, entry, signatures, document }, previous })
    }

    /// The record's digest.
    pub(crate) const fn record(&self) -> &Digest {
        &self.moved.record
    }

    /// The record, where it states its number.
    pub(crate) fn numbered(self) -> Option<RecordedMove> {
        (self.moved.entry.number != 0).then_some(self.moved)
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
        if self.links.len() >= LONGEST || !self.seen.insert(link.moved.record.clone()) {
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
            let entry = &mut link.moved.entry;
            if entry.number != 0 && entry.number != number {
                let (owner, says) = (self.owner, entry.number);
                let what = format!("{owner} has move {says} where move {number} should be");
                return Err(damaged(what));
            }
            entry.number = number;
            Ok(link.moved)
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
///
/// # Errors
/// The signatures cannot be written.
pub(crate) fn record(
    composed: &ComposedMove,
    document: Descriptor,
    config: Descriptor,
    version: &Descriptor,
) -> Result<Manifest> {
    let entry = composed.entry();
    let mut record = Manifest::new(MOVE, config, vec![document]);
    record.subject = Some(version.bare());
    record.annotations.insert(CREATED.to_owned(), entry.time.to_string());
    if let Some(previous) = &entry.previous {
        record.annotations.insert(PREVIOUS.to_owned(), previous.to_string());
    }
    if !composed.signatures().is_empty() {
        let text = serde_json::to_string(composed.signatures())
            .map_err(|error| damaged("cannot write a record's signatures").because(error))?;
        record.annotations.insert(SIGNATURES.to_owned(), text);
    }
    Ok(record)
}

//! What contenders store: claims, votes, and the record that they want.

use bytes::Bytes;
use imgbake_oci::{RawManifest, Repository};
use imgbake_types::record::ComposedMove;
use imgbake_types::tag::Ballot;
use imgbake_types::{ChannelName, Digest, Target};

use crate::Result;
use crate::channels::chain::{self, Link};
use crate::files::{damaged, parse};
use crate::oci::{CLAIM, Descriptor, EMPTY, MANIFEST, MOVE, Manifest, RECORD, VOTE};
use crate::pull;
use crate::repository::{put_blob, raw_manifest};

/// Which attempt a claim or vote belongs to: it makes each a manifest of its own, so that taking one away
/// takes nothing else.
const BALLOT: &str = "io.imgbake.channel.ballot";
/// The longest record that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// A record that can be stored under a tag.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    /// The record's manifest.
    pub(super) record: RawManifest,
    /// The document's blob.
    document: Descriptor,
}

impl Proposal {
    /// Brings in the blobs of a move's record; nothing names it yet.
    pub(super) async fn store(
        repository: &Repository,
        composed: &ComposedMove,
        version: &Descriptor,
    ) -> Result<Self> {
        let document = put_blob(repository, MOVE, Bytes::copy_from_slice(composed.bytes())).await?;
        let empty = put_blob(repository, EMPTY, Bytes::from_static(b"{}")).await?;
        let manifest = chain::record(composed, document.clone(), empty, version)?;
        let record = raw_manifest(&manifest)?;
        put_blob(repository, RECORD, record.bytes.clone()).await?;
        Ok(Self { record, document })
    }

    /// The manifest of a claim.
    pub(super) fn claim(channel: &ChannelName, ballot: &Ballot) -> Result<RawManifest> {
        let mut claim = Manifest::new(CLAIM, empty(), vec![empty()]);
        claim.annotations.insert(BALLOT.to_owned(), format!("{channel} {ballot}"));
        raw_manifest(&claim)
    }

    /// The manifest of a vote for this record. It holds all of the record: whoever votes may die.
    pub(super) fn vote(&self, channel: &ChannelName, ballot: &Ballot) -> Result<RawManifest> {
        let size = self.record.bytes.len() as u64;
        let record = Descriptor::new(RECORD, self.record.digest.clone(), size);
        let mut vote = Manifest::new(VOTE, empty(), vec![self.document.clone(), record]);
        vote.annotations.insert(BALLOT.to_owned(), format!("{channel} {ballot}"));
        raw_manifest(&vote)
    }

    /// Reads what a vote is for; `None` where it is no vote that this imgbake reads.
    pub(super) async fn of_vote(
        repository: &Repository,
        vote: &RawManifest,
        owner: &str,
    ) -> Result<Option<Self>> {
        let manifest: Manifest = parse(&vote.bytes, owner)?;
        let [document, record] = &manifest.layers[..] else { return Ok(None) };
        if !manifest.is(VOTE) || record.media_type != RECORD || record.size > LONGEST {
            return Ok(None);
        }
        let bytes = repository.piece(&record.digest, record.size, 0..record.size).await?;
        let record = RawManifest {
            digest: record.digest.clone(),
            media_type: MANIFEST.to_owned(),
            bytes: bytes.into(),
        };
        Ok(Some(Self { record, document: document.clone() }))
    }

    /// The record, read as any other.
    pub(super) async fn link(&self, repository: &Repository, owner: &str) -> Result<Link> {
        link(repository, &self.record, owner).await
    }
}

/// Whether a manifest is a claim or a vote.
pub(super) fn is_of_contest(manifest: &RawManifest) -> bool {
    let parsed = serde_json::from_slice::<Manifest>(&manifest.bytes);
    parsed.is_ok_and(|manifest| manifest.is(CLAIM) || manifest.is(VOTE))
}

/// Reads the document of a record.
pub(super) async fn link(
    repository: &Repository,
    record: &RawManifest,
    owner: &str,
) -> Result<Link> {
    let manifest: Manifest = parse(&record.bytes, owner)?;
    if !manifest.is(MOVE) {
        return Err(damaged(format!("{owner} has a record that is no channel's move")));
    }
    let document = pull::document(repository, chain::document(&manifest, owner)?, owner).await?;
    Link::new(record.digest.clone(), &manifest, document, owner)
}

/// Reads a record by its tag or digest.
pub(super) async fn record(
    repository: &Repository,
    target: &Target,
    owner: &str,
) -> Result<Option<Link>> {
    match repository.manifest(target).await? {
        None => Ok(None),
        Some(found) => Ok(Some(link(repository, &found, owner).await?)),
    }
}

fn empty() -> Descriptor {
    Descriptor::new(EMPTY, Digest::sha256("{}"), 2)
}

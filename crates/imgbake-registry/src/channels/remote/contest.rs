//! How contenders agree on the record of a number, where a registry compares nothing before it writes:
//! Disk Paxos (Gafni and Lamport, 2003) with tags for disk blocks. See
//! `docs/decisions/0019-channel-moves.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use imgbake_build::BuildError;
use imgbake_oci::{ManifestName, RawManifest};
use imgbake_runtime::retry::Backoff;
use imgbake_types::tag::{Ballot, ChannelTagKind};
use tokio::time::Instant;

use super::document::Proposal;
use super::log::Log;
use super::view::View;
use crate::Result;

/// Ballots that a contender tries.
const BALLOTS: u32 = 100;

/// Somebody who wants to write the record of a number.
#[derive(Debug)]
pub(super) struct Contender<'a> {
    pub(super) log: Log<'a>,
    pub(super) number: u64,
    pub(super) own: Proposal,
    pub(super) nonce: String,
    /// How long others may do nothing before they count as dead. Nothing but speed depends on it.
    pub(super) patience: Duration,
}

/// How an attempt ended.
enum Attempt {
    /// This is the record.
    Chosen(Box<Proposal>),
    /// Another contender has the say.
    Outbid,
    /// The record is written.
    Decided,
}

impl Contender<'_> {
    /// Returns when the record of the number is written, whosever it is.
    pub(super) async fn decide(&self) -> Result<()> {
        let mut others = Others::default();
        let mut ballots = 0;
        while ballots < BALLOTS {
            let view = self.log.view().await?;
            if view.is_decided(self.number) {
                return Ok(());
            }
            if others.are_at_work(&view, self) {
                self.log.cancel.run(others.backoff.wait()).await?;
                continue;
            }
            ballots += 1;
            match self.attempt(&view).await? {
                Attempt::Decided => return Ok(()),
                Attempt::Outbid => {}
                Attempt::Chosen(chosen) => {
                    let tag = self.log.tag(ChannelTagKind::Record(self.number))?;
                    let repository = self.log.repository;
                    repository.put_manifest(ManifestName::Tag(&tag), &chosen.record).await?;
                    return Ok(());
                }
            }
        }
        let label = self.log.label();
        let what = format!("{label} could not be moved: others tried at the same time");
        Err(BuildError::failed(what)
            .help(format!("`imgbake history {label}` shows whether it was moved after all")))
    }

    /// One ballot.
    async fn attempt(&self, view: &View) -> Result<Attempt> {
        let ballot = view.next(self.number, &self.nonce);
        let claim = Proposal::claim(self.log.channel, &ballot)?;
        let view = self.put(ChannelTagKind::Claim(ballot.clone()), &claim).await?;
        if let Some(ended) = self.ended(&view, &ballot) {
            return Ok(ended);
        }
        let proposal = match self.voted(&view, &ballot).await? {
            Some(voted) => voted,
            None => self.own.clone(),
        };
        let vote = proposal.vote(self.log.channel, &ballot)?;
        let view = self.put(ChannelTagKind::Vote(ballot.clone()), &vote).await?;
        Ok(self.ended(&view, &ballot).unwrap_or(Attempt::Chosen(Box::new(proposal))))
    }

    /// Stores a tag of this contender's; gives what the tags say after it.
    async fn put(&self, kind: ChannelTagKind, manifest: &RawManifest) -> Result<View> {
        let tag = self.log.tag(kind.clone())?;
        self.log.repository.put_manifest(ManifestName::Tag(&tag), manifest).await?;
        let view = self.log.view().await?;
        let is_listed = match &kind {
            ChannelTagKind::Claim(ballot) => view.claims.contains(ballot),
            ChannelTagKind::Vote(ballot) => view.votes.contains(ballot),
            ChannelTagKind::Head | ChannelTagKind::Record(_) => true,
        };
        if is_listed || view.is_decided(self.number) {
            return Ok(view);
        }
        let name = self.log.repository.label();
        let what = format!("{name} does not list the tag {tag}, which it just stored");
        Err(BuildError::failed(what)
            .help("channels can be kept only in a registry whose list of tags is up to date"))
    }

    fn ended(&self, view: &View, ballot: &Ballot) -> Option<Attempt> {
        if view.is_decided(self.number) {
            return Some(Attempt::Decided);
        }
        view.is_outbid(ballot).then_some(Attempt::Outbid)
    }

    /// What the greatest vote before a ballot is for: it may be decided already, and nobody knows.
    async fn voted(&self, view: &View, ballot: &Ballot) -> Result<Option<Proposal>> {
        for vote in view.votes_before(ballot) {
            let tag = self.log.tag(ChannelTagKind::Vote(vote.clone()))?;
            // One that is not there is still being stored: its contender will see this one's claim.
            let Some(found) = self.log.listed(&tag).await? else { continue };
            let owner = format!("the vote {tag}");
            let read = Proposal::of_vote(self.log.repository, &found, &owner).await?;
            if let Some(proposal) = read
                && self.is_for_this(&proposal, &owner).await?
            {
                return Ok(Some(proposal));
            }
            tracing::warn!(tag, "a vote is for no record of this channel: it is left out");
        }
        Ok(None)
    }

    /// Whether a proposal is of this number, and follows the same record.
    async fn is_for_this(&self, proposal: &Proposal, owner: &str) -> Result<bool> {
        let own = self.own.link(self.log.repository, owner).await?;
        let link = proposal.link(self.log.repository, owner).await?;
        let same_place = link.previous == own.previous;
        Ok(link.numbered().is_some_and(|moved| {
            let entry = &moved.entry;
            same_place && entry.number == self.number && entry.channel == *self.log.channel
        }))
    }
}

/// What others were last seen to do, and when.
#[derive(Debug, Default)]
struct Others {
    seen: BTreeSet<(bool, Ballot)>,
    /// When they count as dead, if they do nothing more.
    until: Option<Instant>,
    backoff: Backoff,
}

impl Others {
    /// Whether there are others that did something of late, by this contender's own clock.
    fn are_at_work(&mut self, view: &View, contender: &Contender<'_>) -> bool {
        let others = view.others(contender.number, &contender.nonce);
        if others.is_empty() {
            return false;
        }
        if others != self.seen || self.until.is_none() {
            self.seen = others;
            self.until = Some(Instant::now() + contender.patience + jitter(contender.patience));
            self.backoff = Backoff::default();
            return true;
        }
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

/// A random part of a wait: those who wait for the same begin again one after the other.
fn jitter(most: Duration) -> Duration {
    let [a, b, ..] = uuid::Uuid::new_v4().into_bytes();
    most * u32::from(u16::from_le_bytes([a, b])) / 65_536
}

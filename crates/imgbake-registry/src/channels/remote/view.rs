//! What a repository's tags say of a channel.

use std::collections::BTreeSet;

use imgbake_types::tag::{Ballot, ChannelTag, ChannelTagKind};

/// The tags of one channel at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Whether there is a newest record of before records had tags of their own.
    pub(super) has_head: bool,
    /// The numbers of records.
    pub(super) records: BTreeSet<u64>,
    pub(super) claims: BTreeSet<Ballot>,
    pub(super) votes: BTreeSet<Ballot>,
}

impl View {
    pub(super) fn of<'a>(tags: impl IntoIterator<Item = &'a String>, channel: &str) -> Self {
        let mut view = Self::default();
        let own = tags.into_iter().filter_map(|tag| ChannelTag::parse(tag));
        for tag in own.filter(|tag| tag.channel == channel) {
            match tag.kind {
                ChannelTagKind::Head => view.has_head = true,
                ChannelTagKind::Record(number) => {
                    view.records.insert(number);
                }
                ChannelTagKind::Claim(ballot) => {
                    view.claims.insert(ballot);
                }
                ChannelTagKind::Vote(ballot) => {
                    view.votes.insert(ballot);
                }
            }
        }
        view
    }

    /// The newest record that has a tag of its own.
    pub(super) fn last(&self) -> Option<u64> {
        self.records.last().copied()
    }

    /// Whether the record of a number is written: what claims and votes say of it counts no more.
    pub(super) fn is_decided(&self, number: u64) -> bool {
        self.last() >= Some(number)
    }

    /// A contender's next ballot: above all that there are.
    pub(super) fn next(&self, number: u64, nonce: &str) -> Ballot {
        let of_number = |ballot: &&Ballot| ballot.number == number;
        let rounds = self.claims.union(&self.votes).filter(of_number).map(|ballot| ballot.round);
        let round = rounds.max().unwrap_or_default().saturating_add(1);
        Ballot { number, round, nonce: nonce.to_owned() }
    }

    /// Whether somebody claims the same number with a greater ballot.
    pub(super) fn is_outbid(&self, own: &Ballot) -> bool {
        self.claims.iter().any(|other| other.number == own.number && other > own)
    }

    /// The votes for a number before a ballot, the greatest first.
    pub(super) fn votes_before(&self, own: &Ballot) -> impl Iterator<Item = &Ballot> {
        let votes = self.votes.range(..own).rev();
        votes.filter(|vote| vote.number == own.number)
    }

    /// The claims and votes of others for a number.
    pub(super) fn others(&self, number: u64, nonce: &str) -> BTreeSet<(bool, Ballot)> {
        let claims = self.claims.iter().map(|ballot| (false, ballot));
        let all = claims.chain(self.votes.iter().map(|ballot| (true, ballot)));
        all.filter(|(_, ballot)| ballot.number == number && ballot.nonce != nonce)
            .map(|(is_vote, ballot)| (is_vote, ballot.clone()))
            .collect()
    }

    /// Claims and votes that count no more, as kinds of tags.
    pub(super) fn over(&self) -> Vec<ChannelTagKind> {
        let is_over = |ballot: &&Ballot| self.is_decided(ballot.number);
        let claims = self.claims.iter().filter(is_over).cloned().map(ChannelTagKind::Claim);
        let votes = self.votes.iter().filter(is_over).cloned().map(ChannelTagKind::Vote);
        claims.chain(votes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00ff00ff00ff";
    const B: &str = "ff00ff00ff00";

    fn view(tags: &[&str]) -> View {
        let tags: Vec<String> =
            tags.iter().map(|tag| tag.replace('A', A).replace('B', B)).collect();
        View::of(&tags, "dev")
    }

    #[test]
    fn a_view_has_one_channels_tags() {
        let view =
            view(&["dev", "dev.history", "dev.history-9", "dev.history-10", "prod.history-11"]);
        assert!(view.has_head && view.is_decided(10) && !view.is_decided(11));
        assert_eq!(View::default().last(), None);
        assert!(!View::default().is_decided(1));
    }

    #[test]
    fn a_ballot_is_above_all_of_its_number() {
        let view = view(&["dev.claim-3-2-A", "dev.vote-3-1-B", "dev.claim-2-7-B"]);
        let own = view.next(3, A);
        assert_eq!(own.round, 3);
        assert!(!view.is_outbid(&own));
        assert_eq!(view.next(4, A).round, 1);
        let low = Ballot { round: 1, ..own.clone() };
        assert!(view.is_outbid(&low));
        assert_eq!(view.votes_before(&own).count(), 1);
        assert_eq!(view.votes_before(&low).count(), 0, "B's vote of round 1 is above A's");
        assert_eq!(view.others(3, A).len(), 1);
        assert_eq!(
            (view.over().len(), super::View { records: [2].into(), ..view }.over().len()),
            (0, 1)
        );
    }
}

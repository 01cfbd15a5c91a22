//! Which channel a version must come from, and how long it must have been there.

use std::time::Duration;

use async_trait::async_trait;
use imgbake_build::BuildError;
use imgbake_types::record::RecordedMove;
use imgbake_types::time::rough;
use imgbake_types::{Action, ChannelName, Digest, Span};
use jiff::Timestamp;

use crate::{Answer, Candidate, Gate};

/// Another channel points at the version, or did until a later version was promoted to it.
#[derive(Debug)]
pub(crate) struct From(pub(crate) ChannelName);

#[async_trait]
impl Gate for From {
    fn name(&self) -> &'static str {
        "from"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let (from, digest) = (&self.0, &candidate.version.digest);
        let state = candidate.image.state(from).await?;
        if state.target.is_some_and(|target| target.digest == *digest) {
            return Ok(Answer::passed(format!("{from} points at it")));
        }
        let history = match state.head {
            Some(_) => candidate.image.history(from).await?,
            None => Vec::new(),
        };
        let label = candidate.image.label();
        let help = format!(
            "`imgbake promote {label}:{} --to {from}` comes first",
            candidate.version.version
        );
        Ok(match left(&history, digest) {
            None => Answer::refused(format!("{from} never pointed at it")).help(help),
            Some(moved) if moved.entry.action == Action::Rollback => {
                let (who, time) = (&moved.entry.who, moved.entry.time.strftime("%Y-%m-%d %H:%M"));
                Answer::refused(format!("{who} rolled {from} back from it at {time} UTC"))
                    .help(format!("`imgbake history {label}:{from}` says why"))
            }
            Some(moved) => {
                let to = &moved.entry.to.version;
                Answer::passed(format!("{from} pointed at it before {to}"))
            }
        })
    }
}

/// The move by which a channel left a version the last time; the history is newest first.
fn left<'h>(history: &'h [RecordedMove], digest: &Digest) -> Option<&'h RecordedMove> {
    history
        .iter()
        .find(|moved| moved.entry.from.as_ref().is_some_and(|from| from.digest == *digest))
}

/// The version was so long in the channel that it comes from.
#[derive(Debug)]
pub(crate) struct Soak {
    pub(crate) from: ChannelName,
    pub(crate) least: Span,
}

#[async_trait]
impl Gate for Soak {
    fn name(&self) -> &'static str {
        "soak"
    }

    async fn check(&self, candidate: Candidate<'_>) -> Result<Answer, BuildError> {
        let state = candidate.image.state(&self.from).await?;
        let history = match state.head {
            Some(_) => candidate.image.history(&self.from).await?,
            None => Vec::new(),
        };
        let spent = spent(&history, &candidate.version.digest, Timestamp::now());
        let (from, least) = (&self.from, self.least.duration());
        let shown = |time: Duration| rough(time.as_secs_f64());
        let facts = format!("{from} has had it for {}", shown(spent));
        Ok(if spent >= least {
            Answer::passed(format!("{facts}, {} or more are required", shown(least)))
        } else {
            Answer::refused(format!("{facts}, and {} or more are required", shown(least)))
                .help(format!("promote it again in {}", shown(least.saturating_sub(spent))))
        })
    }
}

/// How long a channel pointed at a version in all; the history is newest first. A clock that went back adds nothing.
fn spent(history: &[RecordedMove], digest: &Digest, now: Timestamp) -> Duration {
    let mut until = now;
    let mut spent = Duration::ZERO;
    for RecordedMove { entry, .. } in history {
        if entry.to.digest == *digest {
            spent += Duration::try_from(until.duration_since(entry.time)).unwrap_or_default();
        }
        until = entry.time;
    }
    spent
}

#[cfg(test)]
mod tests {
    use imgbake_types::record::{ChannelMove, ComposedMove, VersionRef};

    use super::*;

    /// Moves at these seconds to these versions, the oldest first.
    fn history(moves: &[(i64, char, Action)]) -> Vec<RecordedMove> {
        let version = |name: char| VersionRef {
            version: format!("1.{}", u32::from(name)).parse().unwrap(),
            digest: Digest::sha256(name.to_string()),
        };
        let mut from = None;
        let mut history: Vec<RecordedMove> = moves
            .iter()
            .map(|(second, name, action)| {
                let entry = ChannelMove {
                    channel: "dev".parse().unwrap(),
                    image: None,
                    number: 0,
                    previous: None,
                    time: Timestamp::from_second(*second).unwrap(),
                    who: "ada@host".parse().unwrap(),
                    action: action.clone(),
                    from: from.replace(version(*name)),
                    to: version(*name),
                    source: None,
                    reason: None,
                    verdicts: Vec::new(),
                };
                ComposedMove::new(entry).unwrap().recorded(Digest::sha256(second.to_string()))
            })
            .collect();
        history.reverse();
        history
    }

    #[test]
    fn time_in_a_channel_is_that_in_which_it_pointed_at_the_version() {
        let moves = history(&[
            (100, 'a', Action::Promote),
            (110, 'b', Action::Promote),
            (130, 'a', Action::Rollback),
            (120, 'c', Action::Promote), // by a clock that is behind
        ]);
        let now = Timestamp::from_second(200).unwrap();
        let spent = |name: &str| spent(&moves, &Digest::sha256(name), now).as_secs();
        assert_eq!((spent("a"), spent("b"), spent("c"), spent("d")), (10, 20, 80, 0));
    }

    #[test]
    fn the_last_move_away_from_a_version_counts() {
        let moves = history(&[
            (1, 'a', Action::Promote),
            (2, 'b', Action::Promote),
            (3, 'a', Action::Rollback),
            (4, 'c', Action::Promote),
        ]);
        let away =
            |name: &str| left(&moves, &Digest::sha256(name)).map(|moved| &moved.entry.action);
        assert_eq!(away("a"), Some(&Action::Promote));
        assert_eq!(away("b"), Some(&Action::Rollback));
        assert_eq!(away("c"), None);
    }
}

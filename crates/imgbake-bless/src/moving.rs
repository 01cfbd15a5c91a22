//! What every move of a channel has in common: gates, the record, compare and swap.

use futures::future::join_all;
use imgbake_build::{BuildError, BuildErrorKind, Image};
use imgbake_types::record::{
    ChannelMove, ChannelState, ComposedMove, RecordedMove, Swap, VersionRef, VersionView,
};
use imgbake_types::{Action, Actor, ChannelName, Verdict};
use jiff::Timestamp;
use serde::Serialize;

use crate::trust::{Trust, name_of};
use crate::{Candidate, Gate};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct MoveRequest<'a> {
    /// The channel to move.
    pub channel: &'a ChannelName,
    /// Who asks.
    pub who: &'a Actor,
    /// By which command.
    pub action: Action,
    /// The channel or version that was named in the command.
    pub source: Option<String>,
    /// Why.
    pub reason: Option<&'a str>,
    /// Asks the gates and moves nothing.
    pub dry_run: bool,
    /// Who signs the move, and who may.
    pub trust: Trust<'a>,
}

/// What moving a channel did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promotion {
    /// The image as references name it.
    pub image: String,
    /// The channel.
    pub channel: ChannelName,
    /// The version that it shall point at, as it was before the move.
    pub version: VersionView,
    /// What each gate said.
    pub verdicts: Vec<Verdict>,
    /// The move; none where the channel pointed there already, and after a dry run.
    pub moved: Option<RecordedMove>,
}

impl Promotion {
    /// One line for people.
    pub fn describe(&self) -> String {
        let Self { image, channel, version, moved, .. } = self;
        let version = &version.version;
        match moved.as_ref().map(|moved| &moved.entry.from) {
            None => format!("{image}:{channel} is {version} already: nothing moved"),
            Some(Some(from)) => {
                format!("{image}:{channel} is {version} now, and was {} before", from.version)
            }
            Some(None) => format!("{image}:{channel} is {version} now"),
        }
    }

    /// Whether a gate refused: known after a dry run.
    pub fn refusal(&self) -> Option<BuildError> {
        refusal(&self.image, &self.channel, &self.version, &self.verdicts)
    }
}

/// Asks every gate and moves the channel from a state to a version.
pub(crate) async fn move_to(
    image: &dyn Image,
    gates: &[Box<dyn Gate>],
    state: &ChannelState,
    version: VersionView,
    request: &MoveRequest<'_>,
) -> Result<Promotion, BuildError> {
    let channel = request.channel;
    let evidence = image.evidence(&version.digest, None).await?;
    let head = state.target.as_ref();
    let candidate = Candidate { version: &version, channel, head, image, evidence: &evidence };
    let mut verdicts = ask(gates, candidate).await?;
    let before = moves_before(image, channel, state, request).await?;
    let signed = request.trust.judge(&name_of(image), channel, &before);
    verdicts.extend(signed.map(|answer| answer.verdict("keys")));
    let label = image.label();
    let there = state.target.as_ref().is_some_and(|target| target.digest == version.digest);
    if !request.dry_run {
        refusal(&label, channel, &version, &verdicts).map_or(Ok(()), Err)?;
    }
    let moved = match (request.dry_run, there) {
        (true, _) => None,
        (false, true) => {
            image.settle(channel).await?;
            None
        }
        (false, false) => Some(swap(image, state, &version, verdicts.clone(), request).await?),
    };
    Ok(Promotion { image: label, channel: channel.clone(), version, verdicts, moved })
}

/// The moves by which a move is judged, the newest first: that one alone where it is signed.
async fn moves_before(
    image: &dyn Image,
    channel: &ChannelName,
    state: &ChannelState,
    request: &MoveRequest<'_>,
) -> Result<Vec<RecordedMove>, BuildError> {
    match &state.head {
        None => Ok(Vec::new()),
        Some(head) if request.trust.keys.is_empty() || !head.signatures.is_empty() => {
            Ok(vec![head.clone()])
        }
        Some(_) => image.history(channel).await,
    }
}

/// Asks every gate, whatever the others say.
async fn ask(
    gates: &[Box<dyn Gate>],
    candidate: Candidate<'_>,
) -> Result<Vec<Verdict>, BuildError> {
    let answers = join_all(gates.iter().map(|gate| gate.check(candidate))).await;
    let verdicts = gates.iter().zip(answers);
    verdicts.map(|(gate, answer)| Ok(answer?.verdict(gate.name()))).collect()
}

/// The error of the gates that refused, if any did.
fn refusal(
    image: &str,
    channel: &ChannelName,
    version: &VersionView,
    verdicts: &[Verdict],
) -> Option<BuildError> {
    let refused: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.passed).collect();
    let reasons: Vec<String> = refused
        .iter()
        .map(|verdict| format!("{} (gate `{}`)", verdict.reason, verdict.gate))
        .collect();
    if reasons.is_empty() {
        return None;
    }
    let (version, reasons) = (&version.version, reasons.join("; "));
    let text = format!("{image}:{version} cannot be promoted to {image}:{channel}: {reasons}");
    let error = BuildError::new(BuildErrorKind::Refused, text);
    let help: Vec<&str> = refused.iter().filter_map(|verdict| verdict.help.as_deref()).collect();
    Some(if help.is_empty() { error } else { error.help(help.join("; ")) })
}

/// Composes the record and has the store compare and swap.
async fn swap(
    image: &dyn Image,
    state: &ChannelState,
    version: &VersionView,
    verdicts: Vec<Verdict>,
    request: &MoveRequest<'_>,
) -> Result<RecordedMove, BuildError> {
    let entry = ChannelMove {
        channel: request.channel.clone(),
        image: Some(name_of(image)),
        number: state.next_number(),
        previous: state.head.as_ref().map(|head| head.record.clone()),
        time: Timestamp::now(),
        who: request.who.clone(),
        action: request.action.clone(),
        from: state.target.clone(),
        to: VersionRef { version: version.version.clone(), digest: version.digest.clone() },
        source: request.source.clone(),
        reason: request.reason.map(str::to_owned),
        verdicts,
    };
    let composed = ComposedMove::new(entry)
        .map_err(|error| BuildError::failed("cannot write the channel's record").because(error))?;
    let composed = request.trust.sign(composed).await?;
    match image.swap(&composed).await? {
        Swap::Moved(moved) => Ok(moved),
        Swap::Lost(now) => Err(lost(&image.label(), request.channel, state, &now)),
    }
}

/// The error of who was not first: it says who was, when, and where the channel points now.
fn lost(
    image: &str,
    channel: &ChannelName,
    before: &ChannelState,
    now: &ChannelState,
) -> BuildError {
    let points = match &now.target {
        Some(target) => format!("it points at {} now", target.version),
        None => "it points at nothing now".to_owned(),
    };
    let head = now
        .head
        .as_ref()
        .filter(|head| before.head.as_ref().is_none_or(|before| before.record != head.record));
    let text = match head {
        Some(RecordedMove { entry, .. }) => {
            let (who, time) = (&entry.who, entry.time.strftime("%Y-%m-%d %H:%M:%S UTC"));
            format!(
                "{image}:{channel} was not moved: {who} moved it first, at {time} ({}); {points}",
                entry.action
            )
        }
        None => format!("{image}:{channel} was not moved: another tool moved it first; {points}"),
    };
    BuildError::new(BuildErrorKind::Refused, text).help(format!(
        "`imgbake history {image}:{channel}` lists its moves; run the command again if it should \
         still be done"
    ))
}

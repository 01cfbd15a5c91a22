//! Moving a channel.

use imgbake_build::{BuildError, BuildErrorKind, Registry};
use imgbake_registry::tags::check_channel;
use imgbake_types::Reference;
use imgbake_types::record::{ChannelMove, VersionRef, VersionView};
use jiff::Timestamp;
use serde::Serialize;

use crate::{Gate, Refusal};

/// What promoting did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Promotion {
    /// The channel.
    pub channel: String,
    /// The version that it points at, as it was before the move.
    pub version: VersionView,
    /// The move; none where the channel pointed there already.
    pub moved: Option<ChannelMove>,
}

impl Promotion {
    /// One line for people.
    pub fn describe(&self) -> String {
        let Self { channel, version: VersionView { name, version, .. }, moved } = self;
        match moved {
            None => format!("{name}:{channel} is {version} already: nothing moved"),
            Some(ChannelMove { from: Some(from), .. }) => {
                format!("{name}:{channel} is {version} now, and was {} before", from.version)
            }
            Some(_) => format!("{name}:{channel} is {version} now"),
        }
    }
}

/// Points the channel `to` at the version that `from` names now.
///
/// The reference is resolved once: what the gates saw is what the channel gets. A gate that refuses
/// is an error of the kind [`BuildErrorKind::Refused`], with every gate's reason, and nothing moves.
/// `who` is `user@host`, `action` the command's word.
pub async fn promote(
    registry: &dyn Registry,
    gates: &[Box<dyn Gate>],
    from: &Reference,
    to: &str,
    who: &str,
    action: &str,
    reason: Option<&str>,
) -> Result<Promotion, BuildError> {
    check_channel(to)?;
    let version = registry.resolve(from).await?;
    check(gates, &version, to)?;
    let channel = to.to_owned();
    if version.channels.contains(&channel) {
        return Ok(Promotion { channel, version, moved: None });
    }
    let entry = ChannelMove {
        channel: channel.clone(),
        time: Timestamp::now(),
        who: who.to_owned(),
        action: action.to_owned(),
        from: None,
        to: VersionRef { version: version.version.clone(), digest: version.digest.clone() },
        source: Some(from.to_string()),
        reason: reason.map(str::to_owned),
    };
    let moved = registry.move_channel(&version.name, entry).await?;
    Ok(Promotion { channel, version, moved: Some(moved) })
}

/// Asks every gate.
fn check(gates: &[Box<dyn Gate>], version: &VersionView, channel: &str) -> Result<(), BuildError> {
    let refusals: Vec<(&str, Refusal)> = gates
        .iter()
        .filter_map(|gate| Some((gate.name(), gate.check(version, channel).err()?)))
        .collect();
    if refusals.is_empty() {
        return Ok(());
    }
    let VersionView { name, version, .. } = version;
    let reasons: Vec<String> =
        refusals.iter().map(|(gate, refusal)| format!("{refusal} (gate `{gate}`)")).collect();
    let text = format!("{name}:{version} may not become {name}:{channel}: {}", reasons.join("; "));
    let error = BuildError::new(BuildErrorKind::Refused, text);
    let help: Vec<String> = refusals.into_iter().filter_map(|(_, refusal)| refusal.help).collect();
    Err(if help.is_empty() { error } else { error.help(help.join("; ")) })
}

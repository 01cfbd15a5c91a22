//! Moving a channel back.

use imgbake_build::{BuildError, BuildErrorKind, Image};
use imgbake_types::record::{ChannelState, VersionRef};
use imgbake_types::{ChannelName, Target, VersionName};

use crate::Gate;
use crate::moving::{MoveRequest, Promotion, move_to};

/// Points a channel at a version that it pointed at before: at `to`, else at the one before its last
/// move. The gates are asked as for [`promote`](crate::promote()).
///
/// # Errors
/// Those of `promote`, and: the channel never was moved, or never pointed at that version.
pub async fn rollback(
    image: &dyn Image,
    gates: &[Box<dyn Gate>],
    to: Option<&VersionName>,
    request: &MoveRequest<'_>,
) -> Result<Promotion, BuildError> {
    let channel = request.channel;
    let state = image.state(channel).await?;
    let target = match to {
        None if state.head.is_some() => before_last(&image.label(), channel, &state)?,
        // That of a channel that is not there says which there are.
        None => return Err(no_history(image, channel).await),
        Some(version) => {
            let history = image.history(channel).await?;
            let mut past = history
                .iter()
                .flat_map(|moved| std::iter::once(&moved.entry.to).chain(&moved.entry.from));
            let found = past.find(|past| past.version == *version);
            found.cloned().ok_or_else(|| never(&image.label(), channel, version))?
        }
    };
    let version = image.version(Some(&Target::Digest(target.digest))).await?;
    move_to(image, gates, &state, version, request).await
}

/// The error of a channel that was never moved.
async fn no_history(image: &dyn Image, channel: &ChannelName) -> BuildError {
    let error = image.history(channel).await.err();
    error.unwrap_or_else(|| never_moved(&image.label(), channel))
}

/// Where the channel pointed before its last move.
fn before_last(
    image: &str,
    channel: &ChannelName,
    state: &ChannelState,
) -> Result<VersionRef, BuildError> {
    let last = state.head.as_ref().and_then(|head| head.entry.from.clone());
    last.ok_or_else(|| never_moved(image, channel))
}

fn never_moved(image: &str, channel: &ChannelName) -> BuildError {
    let text = format!("{image}:{channel} cannot be rolled back: it pointed at nothing before");
    BuildError::new(BuildErrorKind::Usage, text)
        .help(format!("`imgbake promote {image}:VERSION --to {channel}` moves it to any version"))
}

fn never(image: &str, channel: &ChannelName, version: &VersionName) -> BuildError {
    let text = format!(
        "{image}:{channel} cannot be rolled back to {version}: it never pointed at that version"
    );
    BuildError::new(BuildErrorKind::Usage, text).help(format!(
        "`imgbake history {image}:{channel}` lists where it pointed; \
         `imgbake promote {image}:{version} --to {channel}` moves it there"
    ))
}

//! `imgbake history`

use imgbake_bless::keys::PublicKey;
use imgbake_bless::trust::{UntrustedMove, check_move, short};
use imgbake_build::BuildError;
use imgbake_runtime::{Job, Secrets};
use imgbake_types::record::RecordedMove;
use imgbake_types::{ChannelName, Reference};
use imgbake_ui::{Align, Cell, Table, Tone};

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;
use crate::images;

/// Lists a channel's moves, newest first.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    remote: &RemoteArgs,
    json: bool,
) -> Result<(), Failure> {
    let channel = channel(reference)?;
    let (job, listener) = app.begin_quiet("history", &EventArgs::default(), Secrets::default())?;
    let moves = moves(app, &job, (reference, &channel), remote).await;
    let moves = conclude(job, listener, moves).await?;
    if json {
        return app.print_json(&moves);
    }
    let mut table = Table::new([
        ("number", Align::Right),
        ("when (UTC)", Align::Left),
        ("who", Align::Left),
        ("action", Align::Left),
        ("from", Align::Left),
        ("to", Align::Left),
        ("digest", Align::Left),
        ("signed by", Align::Left),
        ("reason", Align::Left),
    ]);
    let keys = app.config.channels.keys(&channel);
    for moved in moves {
        let signed = signed(&moved, &reference.name, &channel, keys);
        let entry = moved.entry;
        let action = match &entry.source {
            Some(source) => format!("{} {source}", entry.action),
            None => entry.action.to_string(),
        };
        table.row([
            Cell::from(entry.number.to_string()),
            Cell::toned(Tone::Dim, entry.time.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            Cell::from(entry.who.to_string()),
            Cell::from(action),
            Cell::from(entry.from.map_or_else(|| "-".to_owned(), |from| from.version.to_string())),
            Cell::toned(Tone::Strong, entry.to.version.as_str()),
            Cell::toned(Tone::Dim, entry.to.digest.short()),
            signed,
            Cell::from(entry.reason.unwrap_or_default()),
        ]);
    }
    app.print(&table.render(app.paint()))
}

/// Who signed a move, and whether that counts by the channel's keys.
fn signed(moved: &RecordedMove, image: &str, channel: &ChannelName, keys: &[PublicKey]) -> Cell {
    match check_move(moved, image, channel, keys) {
        Ok(key) => Cell::toned(Tone::Good, key.short()),
        Err(UntrustedMove::Unsigned) => Cell::toned(Tone::Dim, "-"),
        Err(UntrustedMove::OtherKey(_)) if keys.is_empty() => {
            let names: Vec<String> = moved.signatures.iter().map(|one| short(&one.keyid)).collect();
            Cell::from(names.join(", "))
        }
        Err(why) => Cell::toned(Tone::Bad, why.to_string()),
    }
}

/// The moves of a channel.
async fn moves(
    app: &App,
    job: &Job,
    (reference, channel): (&Reference, &ChannelName),
    remote: &RemoteArgs,
) -> Result<Vec<RecordedMove>, Failure> {
    let image = images::image(job, &app.config, reference, remote).await?;
    Ok(job.cancel().run(image.history(channel)).await.map_err(BuildError::from)??)
}

/// The channel that a reference names.
pub(super) fn channel(reference: &Reference) -> Result<ChannelName, Failure> {
    let tag = reference.tag_name().ok_or_else(|| {
        Failure::usage(format!(
            "`{reference}` names no channel: give NAME:CHANNEL, such as {}:prod",
            reference.name
        ))
    })?;
    Ok(tag.parse().map_err(BuildError::from)?)
}

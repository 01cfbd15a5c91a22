//! `imgbake promote`

use imgbake_bless::keys::Signer;
use imgbake_bless::trust::Trust;
use imgbake_bless::{MoveRequest, Promotion};
use imgbake_build::BuildError;
use imgbake_runtime::{Job, Secrets};
use imgbake_types::{Action, ChannelName, EventKind, Reference, Target};
use imgbake_ui::{Align, Cell, Table, Tone};

use crate::app::{App, conclude};
use crate::cli::MoveArgs;
use crate::failure::Failure;
use crate::images;

/// Points a channel at a version.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    to: &ChannelName,
    args: &MoveArgs,
) -> Result<(), Failure> {
    let signer = app.config.signing.load()?;
    let (job, listener) = app.begin_quiet("promote", &args.events, Secrets::default())?;
    let trust = trust(app, &job, signer.as_deref(), to);
    let request = request(app, to, Action::Promote, Some(reference.to_string()), args, trust);
    let promoted = async {
        let image = images::image(&job, &app.config, reference, &args.remote).await?;
        let version = image.version(reference.target.as_ref()).await?;
        let gates = app.config.channels.channel(to).gates(&request.action);
        let moving = imgbake_bless::promote(&*image, &gates, version, &request);
        Ok(job.cancel().run(moving).await.map_err(BuildError::from)??)
    };
    let promoted = emit(&job, promoted.await);
    let promotion = conclude(job, listener, promoted).await?;
    print(app, &promotion, args.dry_run)
}

/// Who signs a channel's moves here, and who may.
pub(super) fn trust<'a>(
    app: &'a App,
    job: &'a Job,
    signer: Option<&'a dyn Signer>,
    channel: &ChannelName,
) -> Trust<'a> {
    Trust { signer: signer.map(|signer| (job, signer)), keys: app.config.channels.keys(channel) }
}

/// The request for a move.
pub(super) fn request<'a>(
    app: &'a App,
    channel: &'a ChannelName,
    action: Action,
    source: Option<String>,
    args: &'a MoveArgs,
    trust: Trust<'a>,
) -> MoveRequest<'a> {
    let (who, reason) = (&app.config.who, args.reason.as_deref());
    MoveRequest { channel, who, action, source, reason, dry_run: args.dry_run, trust }
}

/// Reports a move as an event; a channel that was there already did not move.
pub(super) fn emit(job: &Job, promoted: Result<Promotion, Failure>) -> Result<Promotion, Failure> {
    let promotion = promoted?;
    if promotion.moved.is_some() {
        let image = promotion.image.parse::<Reference>();
        let image = image.unwrap_or_else(|_| Reference::tag(&promotion.image, ""));
        let target = Some(Target::Tag(promotion.channel.to_string()));
        job.events().emit(EventKind::ChannelMoved {
            channel: Reference { target, ..image },
            version: promotion.version.version.to_string(),
            digest: promotion.version.digest.clone(),
        });
    }
    Ok(promotion)
}

/// Prints what a move did, or would do. A dry run that a gate refuses ends as the move would.
pub(super) fn print(app: &App, promotion: &Promotion, dry_run: bool) -> Result<(), Failure> {
    if !dry_run {
        return app.print(&format!("{}\n", promotion.describe()));
    }
    let mut table =
        Table::new([("gate", Align::Left), ("verdict", Align::Left), ("reason", Align::Left)]);
    for verdict in &promotion.verdicts {
        let (tone, word) =
            if verdict.passed { (Tone::Good, "passed") } else { (Tone::Bad, "refused") };
        // The error has the other lines of a refusal.
        let reason = verdict.reason.lines().next().unwrap_or_default();
        table.row([Cell::from(verdict.gate.as_str()), Cell::toned(tone, word), Cell::from(reason)]);
    }
    app.print(&table.render(app.paint()))?;
    promotion.refusal().map_or(Ok(()), |error| Err(error.into()))
}

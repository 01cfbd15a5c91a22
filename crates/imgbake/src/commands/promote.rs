//! `imgbake promote`

use imgbake_bless::Promotion;
use imgbake_runtime::Job;
use imgbake_types::{EventKind, Reference};

use super::export;
use crate::app::{App, conclude};
use crate::cli::EventArgs;
use crate::failure::Failure;
use crate::rooms;

/// Points a channel at a verified version.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    to: &str,
    reason: Option<&str>,
    events: &EventArgs,
) -> Result<(), Failure> {
    let registry = rooms::registry(&app.home)?;
    export::local(reference)?;
    let (job, listener) = app.begin_quiet("promote", events)?;
    let gates = rooms::gates();
    let promoted = imgbake_bless::promote(
        &*registry,
        &gates,
        reference,
        to,
        &app.config.who,
        "promote",
        reason,
    )
    .await;
    if let Ok(promotion) = &promoted {
        tell(&job, promotion);
    }
    let promotion = conclude(job, listener, promoted.map_err(Failure::from)).await?;
    app.print(&format!("{}\n", promotion.describe()))
}

/// Tells a move as an event; a channel that was there already did not move.
pub(super) fn tell(job: &Job, promotion: &Promotion) {
    if promotion.moved.is_some() {
        job.events().tell(EventKind::ChannelMoved {
            channel: Reference::tag(&promotion.version.name, &promotion.channel),
            version: promotion.version.version.to_string(),
            digest: promotion.version.digest.clone(),
        });
    }
}

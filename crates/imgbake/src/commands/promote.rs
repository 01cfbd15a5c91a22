//! `imgbake promote`

use imgbake_runtime::Secrets;
use imgbake_types::{EventKind, Reference};

use super::export;
use crate::app::App;
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
    let version = export::resolve(&*registry, reference).await?;
    let (job, listener) = app.begin("promote", events, Secrets::default())?;
    let gates = rooms::gates();
    let moved =
        imgbake_bless::promote(&*registry, &gates, reference, to, &app.config.who, "promote", reason).await;
    if moved.is_ok() {
        job.events().tell(EventKind::ChannelMoved {
            channel: Reference::tag(&version.name, to),
            version: version.version.to_string(),
            digest: version.digest.clone(),
        });
    }
    job.end()?;
    drop(job);
    listener.end().await?;
    moved?;
    Ok(())
}

//! `imgbake rollback`

use imgbake_build::BuildError;
use imgbake_runtime::Secrets;
use imgbake_types::{Action, Reference, VersionName};

use super::{history, promote};
use crate::app::{App, conclude};
use crate::cli::MoveArgs;
use crate::failure::Failure;
use crate::images;

/// Points a channel at a version that it pointed at before.
pub(super) async fn run(
    app: &App,
    reference: &Reference,
    to: Option<&VersionName>,
    args: &MoveArgs,
) -> Result<(), Failure> {
    let channel = history::channel(reference)?;
    let signer = app.config.signing.load()?;
    let (job, listener) = app.begin_quiet("rollback", &args.events, Secrets::default())?;
    let trust = promote::trust(app, &job, signer.as_deref(), &channel);
    let request = promote::request(app, &channel, Action::Rollback, None, args, trust);
    let moved = async {
        let image = images::image(&job, &app.config, reference, &args.remote).await?;
        let gates = app.config.channels.channel(&channel).gates(&request.action);
        let moving = imgbake_bless::rollback(&*image, &gates, to, &request);
        Ok(job.cancel().run(moving).await.map_err(BuildError::from)??)
    };
    let moved = promote::emit(&job, moved.await);
    let promotion = conclude(job, listener, moved).await?;
    promote::print(app, &promotion, args.dry_run)
}

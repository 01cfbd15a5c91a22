//! `imgbake images`

use imgbake_build::BuildError;
use imgbake_registry::pull;
use imgbake_runtime::{Job, Secrets};
use imgbake_types::Reference;
use imgbake_types::record::{VerifyStatus, VersionView};
use imgbake_ui::{Align, Cell, Table, Tone, human_bytes};

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;
use crate::rooms;

/// Lists versions and channels.
pub(super) async fn run(
    app: &App,
    name: Option<&str>,
    remote: &RemoteArgs,
    json: bool,
) -> Result<(), Failure> {
    let place = name.and_then(|name| name.parse::<Reference>().ok());
    let place = place.filter(|place| place.host.is_some());
    let versions = match &place {
        None => rooms::registry(&app.home)?.versions(name).await?,
        Some(place) => {
            let (job, listener) =
                app.begin_quiet("images", &EventArgs::default(), Secrets::default())?;
            let versions = remote_versions(app, &job, place, remote).await;
            conclude(job, listener, versions).await?
        }
    };
    if json {
        return app.print_json(&versions);
    }
    match &place {
        _ if !versions.is_empty() => {}
        Some(place) => app.note(&format!("there are no versions in {place}")),
        None => app.note("there are no versions yet; `imgbake build TEMPLATE` makes the first"),
    }
    if versions.is_empty() {
        return Ok(());
    }
    let mut table = Table::new([
        ("name", Align::Left),
        ("version", Align::Left),
        ("channels", Align::Left),
        ("verify", Align::Left),
        ("disk", Align::Right),
        ("stored", Align::Right),
        ("created (UTC)", Align::Left),
        ("digest", Align::Left),
    ]);
    for version in versions {
        table.row([
            Cell::from(version.name.clone()),
            Cell::toned(Tone::Strong, version.version.as_str()),
            Cell::from(version.channels.join(" ")),
            status(version.verify.status),
            Cell::from(human_bytes(version.disk.virtual_size)),
            Cell::from(human_bytes(version.disk.stored_bytes)),
            Cell::toned(Tone::Dim, version.created.strftime("%Y-%m-%d %H:%M").to_string()),
            Cell::toned(Tone::Dim, version.digest.short()),
        ]);
    }
    app.print(&table.render(app.paint()))
}

/// The versions in a registry's repository.
async fn remote_versions(
    app: &App,
    job: &Job,
    place: &Reference,
    remote: &RemoteArgs,
) -> Result<Vec<VersionView>, Failure> {
    if place.target.is_some() {
        let what = format!("`{place}` names one version: `imgbake show {place}` shows it");
        return Err(Failure::usage(what));
    }
    let options = rooms::remote_options(&app.config, remote, &[place])?;
    let repository = rooms::repository(job, &options, place).await?;
    Ok(job.cancel().run(pull::versions(&repository)).await.map_err(BuildError::from)??)
}

/// A verify status in its colour.
pub(super) fn status(status: VerifyStatus) -> Cell {
    match status {
        VerifyStatus::Passed => Cell::toned(Tone::Good, "passed"),
        VerifyStatus::Failed => Cell::toned(Tone::Bad, "failed"),
        VerifyStatus::Unverified => Cell::toned(Tone::Dim, "unverified"),
    }
}

//! `imgbake images`

use imgbake_build::{BuildError, BuildErrorKind, Versions};
use imgbake_registry::RemoteImage;
use imgbake_runtime::{Job, Secrets};
use imgbake_types::Reference;
use imgbake_types::record::{ListedVersion, Problem, UnreadableVersion, VerifyStatus};
use imgbake_ui::{Align, Cell, Table, Tone, human_bytes};

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::components;
use crate::failure::Failure;
use crate::images;

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
        None => components::registry(&app.home)?.versions(name).await?,
        Some(place) => {
            let (job, listener) =
                app.begin_quiet("images", &EventArgs::default(), Secrets::default())?;
            let versions = remote_versions(app, &job, place, remote).await;
            conclude(job, listener, versions).await?
        }
    };
    if json {
        app.print_json(&versions)?;
    }
    if versions.is_empty() {
        return none(app, name, place.as_ref());
    }
    if json {
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
    let mut damaged = Vec::new();
    for version in versions {
        let version = match version {
            ListedVersion::Readable(version) => version,
            ListedVersion::Unreadable(version) => {
                table.row(unreadable(&version));
                if matches!(version.problem, Problem::Damaged { .. }) {
                    let UnreadableVersion { name, version, problem, .. } = &version;
                    damaged.push(format!("{name}:{version} is {problem}"));
                }
                continue;
            }
        };
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
    app.print(&table.render(app.paint()))?;
    for message in damaged {
        app.note(&message);
    }
    Ok(())
}

/// Shows that there is nothing to list: an error where something was named.
fn none(app: &App, name: Option<&str>, place: Option<&Reference>) -> Result<(), Failure> {
    let (what, help) = match (place, name) {
        (Some(place), _) => (format!("there are no versions in {place}"), None),
        (None, Some(name)) => {
            (format!("there are no versions of {name}"), Some("`imgbake images` lists all images"))
        }
        (None, None) => {
            app.note("there are no versions yet; `imgbake build TEMPLATE` makes the first");
            return Ok(());
        }
    };
    let error = BuildError::new(BuildErrorKind::NotFound, what);
    Err(error.help_if_any(help.map(str::to_owned)).into())
}

/// The row of a version of which only its name is known.
fn unreadable(version: &UnreadableVersion) -> [Cell; 8] {
    let problem = match &version.problem {
        Problem::Damaged { .. } => "damaged".to_owned(),
        newer @ Problem::Newer { .. } => newer.to_string(),
    };
    [
        Cell::from(version.name.clone()),
        Cell::toned(Tone::Strong, version.version.as_str()),
        Cell::from(version.channels.join(" ")),
        Cell::toned(Tone::Bad, problem),
        Cell::from(String::new()),
        Cell::from(String::new()),
        Cell::from(String::new()),
        Cell::toned(Tone::Dim, version.digest.short()),
    ]
}

/// The versions in a registry's repository.
async fn remote_versions(
    app: &App,
    job: &Job,
    place: &Reference,
    remote: &RemoteArgs,
) -> Result<Vec<ListedVersion>, Failure> {
    if place.target.is_some() {
        let what = format!("`{place}` names one version: `imgbake show {place}` shows it");
        return Err(Failure::usage(what));
    }
    let options = images::remote_options(&app.config, remote, &[place])?;
    let image = RemoteImage::new(job, images::repository(job, &options, place).await?);
    Ok(job.cancel().run(image.versions()).await.map_err(BuildError::from)??)
}

/// A verify status in its colour.
pub(super) fn status(status: VerifyStatus) -> Cell {
    match status {
        VerifyStatus::Passed => Cell::toned(Tone::Good, "passed"),
        VerifyStatus::Failed => Cell::toned(Tone::Bad, "failed"),
        VerifyStatus::Unverified => Cell::toned(Tone::Dim, "unverified"),
    }
}

//! `imgbake copy`

use imgbake_oci::RemoteOptions;
use imgbake_registry::transfer::{Copied, copy};
use imgbake_runtime::{Job, Secrets};
use imgbake_types::{Reference, Target};

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;
use crate::images;

/// Copies a version from one registry to another. `word` is the command's.
pub(super) async fn run(
    app: &App,
    word: &str,
    (reference, dest): (&Reference, &Reference),
    remote: &RemoteArgs,
    events: &EventArgs,
) -> Result<(), Failure> {
    check(reference, dest)?;
    let options = images::remote_options(&app.config, remote, &[reference, dest])?;
    let (job, listener) = app.begin(word, events, Secrets::default())?;
    let result = work(&job, &options, reference, dest).await;
    let copied = conclude(job, listener, result).await?;
    let target = Some(Target::Tag(copied.tag));
    let place = Reference { target, ..dest.clone() };
    app.print(&format!("{place} {}\n", copied.digest))
}

/// What the text alone shows to be wrong.
fn check(reference: &Reference, dest: &Reference) -> Result<(), Failure> {
    if matches!(dest.target, Some(Target::Digest(_))) {
        return Err(Failure::usage(format!(
            "`{dest}` names a digest: a copy keeps its own, and a destination is NAME or NAME:TAG"
        )));
    }
    if reference.host.is_some() {
        images::remote_target(reference)?;
    }
    let (from, to) = ((&reference.host, &reference.name), (&dest.host, &dest.name));
    if from == to && dest.target.is_none() {
        return Err(Failure::usage(format!("`{reference}` and `{dest}` are the same place")));
    }
    Ok(())
}

async fn work(
    job: &Job,
    options: &RemoteOptions,
    reference: &Reference,
    dest: &Reference,
) -> Result<Copied, Failure> {
    let target = if let (Some(_), Some(target)) = (&reference.host, &reference.target) {
        target.clone()
    } else {
        // What people call a version here, a registry does not understand: prefixes, the newest.
        let image = images::local(job.home(), reference)?;
        Target::Digest(image.version(reference.target.as_ref()).await?.digest)
    };
    let from = images::end(job, options, reference).await?;
    let to = images::end(job, options, dest).await?;
    Ok(copy(job, &from, &target, &to, dest.tag_name()).await?)
}

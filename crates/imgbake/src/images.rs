//! From a reference to the image and the version that it names: the one way, for every command.

use imgbake_build::{BuildError, Image, Registry};
use imgbake_oci::{Remote, RemoteOptions, Repository};
use imgbake_registry::{Layout, RemoteImage, transfer};
use imgbake_runtime::{Home, Job};
use imgbake_types::record::VersionView;
use imgbake_types::{Reference, Target};

use crate::cli::RemoteArgs;
use crate::config::Config;
use crate::failure::Failure;

/// How the registries of a command are reached.
pub fn remote_options(
    config: &Config,
    args: &RemoteArgs,
    references: &[&Reference],
) -> Result<RemoteOptions, Failure> {
    let mut hosts: Vec<&str> = references.iter().filter_map(|one| one.host.as_deref()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let credentials = config.logins.settings(&hosts)?;
    Ok(RemoteOptions { ca: args.ca.clone(), insecure_http: args.insecure_http, credentials })
}

/// The image that a reference's host and name mean, as an end of a copy.
pub async fn end(
    job: &Job,
    options: &RemoteOptions,
    reference: &Reference,
) -> Result<transfer::End, Failure> {
    if reference.host.is_none() {
        let layout = Layout::open(job.home().registry())?;
        return Ok(transfer::End::local(&layout, &reference.name)?);
    }
    Ok(transfer::End::remote(job, repository(job, options, reference).await?))
}

/// The registry's repository that a reference with a host means.
pub async fn repository(
    job: &Job,
    options: &RemoteOptions,
    reference: &Reference,
) -> Result<Repository, Failure> {
    let host = reference.host.as_deref().unwrap_or_default();
    Ok(Remote::connect(job, host, options).await?.repository(&reference.name)?)
}

/// The image that a reference means, here or in a registry.
pub async fn image(
    job: &Job,
    config: &Config,
    reference: &Reference,
    remote: &RemoteArgs,
) -> Result<Box<dyn Image>, Failure> {
    if reference.host.is_none() {
        return local(job.home(), reference);
    }
    let options = remote_options(config, remote, &[reference])?;
    Ok(Box::new(RemoteImage::new(job, repository(job, &options, reference).await?)))
}

/// The version that a reference names, here or in a registry.
pub async fn version(
    job: &Job,
    config: &Config,
    reference: &Reference,
    remote: &RemoteArgs,
) -> Result<VersionView, Failure> {
    if reference.host.is_some() {
        remote_target(reference)?;
    }
    let image = image(job, config, reference, remote).await?;
    let finding = image.version(reference.target.as_ref());
    Ok(job.cancel().run(finding).await.map_err(BuildError::from)??)
}

/// The image of the local registry that a reference means, for commands that know no other.
pub fn local(home: &Home, reference: &Reference) -> Result<Box<dyn Image>, Failure> {
    check_local(reference)?;
    Ok(Layout::open(home.registry())?.image(&reference.name))
}

/// Refuses a reference to a registry, for commands that know the local one only.
pub fn check_local(reference: &Reference) -> Result<(), Failure> {
    match &reference.host {
        None => Ok(()),
        Some(host) => Err(Failure::usage(format!(
            "`{reference}` names the registry {host}: this command knows the local registry only"
        ))),
    }
}

/// What a reference to a registry asks for.
pub fn remote_target(reference: &Reference) -> Result<Target, Failure> {
    reference.target.clone().ok_or_else(|| {
        Failure::usage(format!(
            "which version of `{reference}`? A registry knows no newest one: give {reference}:TAG"
        ))
    })
}

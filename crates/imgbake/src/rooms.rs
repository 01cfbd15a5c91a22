//! Wiring: which rooms a build walks through.

use std::sync::Arc;

use camino::Utf8Path;
use imgbake_bless::Gate;
use imgbake_bootstrap::Bootstrap;
use imgbake_build::share::LayerShare;
use imgbake_build::{Registry, Rooms};
use imgbake_qemu::QemuBuilder;
use imgbake_registry::transfer::Place;
use imgbake_registry::{Layout, LayoutShare, Remote, RemoteOptions, Repository};
use imgbake_runtime::{Home, Job};
use imgbake_seal::GuestSealer;
use imgbake_source::{RegistrySource, UrlSource};
use imgbake_types::{Reference, Target};

use crate::cli::RemoteArgs;
use crate::config::Config;
use crate::failure::Failure;

/// The registry that references without a host mean.
pub fn registry(home: &Home) -> Result<Arc<dyn Registry>, Failure> {
    Ok(Arc::new(layout(home)?))
}

/// The same, for what only a local registry can do.
pub fn layout(home: &Home) -> Result<Layout, Failure> {
    Ok(Layout::open(home.registry())?)
}

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

/// The place that a reference's host and name mean.
pub async fn place(
    job: &Job,
    options: &RemoteOptions,
    reference: &Reference,
) -> Result<Place, Failure> {
    if reference.host.is_none() {
        let layout = Layout::open(job.home().registry())?;
        return Ok(Place::local(job, &layout, &reference.name)?);
    }
    Ok(Place::remote(repository(job, options, reference).await?))
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

/// What a reference to a registry asks for.
pub fn remote_target(reference: &Reference) -> Result<Target, Failure> {
    reference.target.clone().ok_or_else(|| {
        Failure::usage(format!(
            "which version of `{reference}`? A registry knows no newest one: give {reference}:TAG"
        ))
    })
}

/// Every room.
pub fn rooms(home: &Home) -> Result<Rooms, Failure> {
    let registry = registry(home)?;
    Ok(Rooms {
        sources: vec![
            Box::new(Bootstrap),
            Box::new(UrlSource::new()),
            Box::new(RegistrySource::new(Arc::clone(&registry))),
        ],
        builder: Arc::new(QemuBuilder::new()),
        provisioners: imgbake_provision::provisioners(),
        sealer: Box::new(GuestSealer::new()),
        registry,
    })
}

/// Where layers are given to others, and where they are taken from.
type Shares = (Option<Arc<dyn LayerShare>>, Option<Arc<dyn LayerShare>>);

/// The OCI image layouts that layers are shared through; one for both where both name one folder.
pub fn shares(to: Option<&Utf8Path>, from: Option<&Utf8Path>) -> Result<Shares, Failure> {
    let given: Option<Arc<dyn LayerShare>> = match to {
        Some(path) => Some(Arc::new(LayoutShare::open(path)?)),
        None => None,
    };
    let taken: Option<Arc<dyn LayerShare>> = match from {
        Some(path) if to == Some(path) => given.clone(),
        Some(path) => Some(Arc::new(LayoutShare::open_existing(path)?)),
        None => None,
    };
    Ok((given, taken))
}

/// What a version must pass before a channel points at it.
pub fn gates() -> Vec<Box<dyn Gate>> {
    vec![Box::new(imgbake_bless::Verified)]
}

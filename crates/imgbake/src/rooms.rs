//! Wiring: which rooms a build walks through.

use std::sync::Arc;

use imgbake_bless::Gate;
use imgbake_bootstrap::Bootstrap;
use imgbake_build::share::LayerShare;
use imgbake_build::{Registry, Rooms};
use imgbake_qemu::QemuBuilder;
use imgbake_registry::transfer;
use imgbake_registry::{Layout, LayoutShare, Remote, RemoteOptions, RemoteShare, Repository};
use imgbake_runtime::{Home, Job};
use imgbake_seal::GuestSealer;
use imgbake_source::{RegistrySource, UrlSource};
use imgbake_types::{Reference, Target};

use crate::cli::{BuildArgs, RemoteArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::place::Place;

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
) -> Result<transfer::Place, Failure> {
    if reference.host.is_none() {
        let layout = Layout::open(job.home().registry())?;
        return Ok(transfer::Place::local(job, &layout, &reference.name)?);
    }
    Ok(transfer::Place::remote(repository(job, options, reference).await?))
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

/// Where layers are shared through; one for both where both name one place.
pub fn shares(config: &Config, args: &BuildArgs) -> Result<Shares, Failure> {
    let [to, from] =
        [&args.cache_to, &args.cache_from].map(|text| text.as_deref().map(Place::find));
    let (to, from) = (to.transpose()?, from.transpose()?);
    let repositories = [&to, &from].map(|place| place.as_ref().and_then(Place::repository));
    let hosts: Vec<&Reference> = repositories.into_iter().flatten().collect();
    let options = match &hosts[..] {
        [] => RemoteOptions::default(),
        hosts => remote_options(config, &args.remote, hosts)?,
    };
    let open = |place: &Place, new: bool| -> Result<Arc<dyn LayerShare>, Failure> {
        let share: Arc<dyn LayerShare> = match place {
            Place::Folder(path) if new => Arc::new(LayoutShare::open(path)?),
            Place::Folder(path) => Arc::new(LayoutShare::open_existing(path)?),
            Place::Repository(reference) => {
                let host = reference.host.as_deref().unwrap_or_default();
                Arc::new(RemoteShare::new(host, &reference.name, options.clone())?)
            }
        };
        Ok(share)
    };
    let given = to.as_ref().map(|place| open(place, true)).transpose()?;
    let taken = match &from {
        same if *same == to => given.clone(),
        other => other.as_ref().map(|place| open(place, false)).transpose()?,
    };
    Ok((given, taken))
}

/// What a version must pass before a channel points at it.
pub fn gates() -> Vec<Box<dyn Gate>> {
    vec![Box::new(imgbake_bless::Verified)]
}

//! Wiring: which components a build uses.

use std::sync::Arc;

use imgbake_bootstrap::Bootstrap;
use imgbake_build::share::LayerShare;
use imgbake_build::{Builder, Components, Provisioner, Registry};
use imgbake_oci::RemoteOptions;
use imgbake_qemu::QemuBuilder;
use imgbake_registry::{Layout, LayoutShare, RemoteShare};
use imgbake_runtime::Home;
use imgbake_runtime::journal::Cleaners;
use imgbake_seal::GuestSealer;
use imgbake_source::{RegistrySource, UrlSource};
use imgbake_template::Schema;
use imgbake_types::Reference;

use crate::cli::BuildArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::images::remote_options;
use crate::store::Store;

/// The registry that references without a host mean.
pub fn registry(home: &Home) -> Result<Arc<dyn Registry>, Failure> {
    Ok(Arc::new(layout(home)?))
}

/// The same, for what only a local registry can do.
pub fn layout(home: &Home) -> Result<Layout, Failure> {
    Ok(Layout::open(home.registry())?)
}

/// What removes resources outside this host that killed builds left: a cleaner for each kind that this
/// program's builders make. QEMU's are processes and paths alone.
pub fn cleaners() -> Cleaners {
    Cleaners::default()
}

/// The kinds of components that a program is made with.
pub struct Wiring {
    /// Its builders.
    pub builders: Vec<Arc<dyn Builder>>,
    /// Its provisioners.
    pub provisioners: Vec<Arc<dyn Provisioner>>,
}

impl Wiring {
    /// Those of the released program.
    pub fn standard() -> Self {
        Self {
            builders: vec![Arc::new(QemuBuilder::new())],
            provisioners: imgbake_provision::provisioners(),
        }
    }

    /// What its templates may hold.
    pub fn schema(&self) -> Schema {
        let builders: Vec<_> = self.builders.iter().map(|builder| builder.kind()).collect();
        let provisioners: Vec<_> = self.provisioners.iter().map(|one| one.kind()).collect();
        Schema::new(&builders, &provisioners)
    }
}

/// Every component.
pub fn wire(wiring: &Wiring, home: &Home) -> Result<Components, Failure> {
    let registry = registry(home)?;
    Ok(Components {
        sources: vec![
            Box::new(Bootstrap),
            Box::new(UrlSource::new()),
            Box::new(RegistrySource::new(Arc::clone(&registry))),
        ],
        builders: wiring.builders.clone(),
        provisioners: wiring.provisioners.clone(),
        sealer: Box::new(GuestSealer::new()),
        registry,
    })
}

/// Where layers are given to others, and where they are taken from.
pub type Shares = (Option<Arc<dyn LayerShare>>, Option<Arc<dyn LayerShare>>);

/// Where layers are shared through; one for both where both name one place.
pub fn shares(config: &Config, args: &BuildArgs) -> Result<Shares, Failure> {
    let [to, from] =
        [&args.cache_to, &args.cache_from].map(|text| text.as_deref().map(Store::find));
    let (to, from) = (to.transpose()?, from.transpose()?);
    let repositories = [&to, &from].map(|place| place.as_ref().and_then(Store::repository));
    let hosts: Vec<&Reference> = repositories.into_iter().flatten().collect();
    let options = match &hosts[..] {
        [] => RemoteOptions::default(),
        hosts => remote_options(config, &args.remote, hosts)?,
    };
    let open = |place: &Store, new: bool| -> Result<Arc<dyn LayerShare>, Failure> {
        let share: Arc<dyn LayerShare> = match place {
            Store::Folder(path) if new => Arc::new(LayoutShare::open(path)?),
            Store::Folder(path) => Arc::new(LayoutShare::open_existing(path)?),
            Store::Repository(reference) => {
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

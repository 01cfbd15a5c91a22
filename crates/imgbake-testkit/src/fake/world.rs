//! A home, a plan and all that a build is made with: real layers, seal, provisioners and registry, and
//! machines in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::cache::{CacheMode, LayerCache};
use imgbake_build::stage::{self, Build, Layers, Verified};
use imgbake_build::{BaseDisk, Components, Slots};
use imgbake_plan::{FsHasher, Request};
use imgbake_registry::Layout;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_seal::GuestSealer;
use imgbake_source::{RegistrySource, UrlSource};
use imgbake_template::{Schema, Variables, parse};
use imgbake_types::{Plan, Size};

use super::{FakeBuilder, Features};
use crate::base::raw_base;

/// The base disk's size.
const DISK: u64 = 1 << 20;

/// A test's own home and builder.
pub struct FakeWorld {
    dir: tempfile::TempDir,
    /// Its home.
    pub home: Home,
    /// What makes its machines.
    pub builder: FakeBuilder,
    /// The builder and all beside it.
    pub components: Components,
    /// The layers of its builds.
    pub layers: Layers,
    /// The machines that may run at once.
    pub slots: Slots,
}

impl FakeWorld {
    /// A world whose machines have these features, two at once.
    pub fn new(features: Features) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let home = Home::new(dir.join("home"));
        home.ensure().unwrap();
        base_disk(&dir.join("base.raw"));
        let builder = FakeBuilder::new(features);
        let registry = Arc::new(Layout::open(home.registry()).unwrap());
        let components = Components {
            sources: vec![
                Box::new(UrlSource::new()),
                Box::new(RegistrySource::new(Arc::clone(&registry) as _)),
            ],
            builders: vec![Arc::new(builder.clone())],
            provisioners: imgbake_provision::provisioners(),
            sealer: Box::new(GuestSealer::new()),
            registry,
        };
        let cache = LayerCache::open(&home, Size::mib(1024)).unwrap();
        let layers = Layers { cache, mode: CacheMode::Full, to: None, from: None };
        Self { dir: temp, home, builder, components, layers, slots: Slots::new(2) }
    }

    /// Its folder, with `base.raw` in it: a small disk.
    pub fn dir(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.dir.path().to_owned()).unwrap()
    }

    /// `base.raw` as what a machine starts from.
    pub fn base(&self) -> BaseDisk {
        raw_base(self.dir().join("base.raw"))
    }

    /// A template of an image `web` on a small disk; `rest` is the rest of its text.
    pub fn template(&self, rest: &str) -> String {
        format!(
            "[image]\nname = \"web\"\n[source]\nurl = \"{}/base.raw\"\nchecksum = \"none\"\n\
             allow_unverified = true\n[builder.fake]\nboot_timeout = \"20s\"\nshutdown_timeout = \"20s\"\n{rest}",
            self.dir()
        )
    }

    /// Its plan.
    pub fn plan(&self, rest: &str) -> Plan {
        let dir = self.dir();
        let schema = Schema::new(&[FakeBuilder::KIND], &imgbake_provision::kinds());
        let path = dir.join("web.toml");
        let template =
            parse(&path, &self.template(rest), &schema).unwrap_or_else(|found| panic!("{found}"));
        let resolved =
            template.resolve(&Variables::new()).unwrap_or_else(|found| panic!("{found}"));
        let request = Request {
            template: &template,
            resolved: &resolved,
            template_dir: &dir,
            work_dir: &dir,
            files: &FsHasher::new(),
            secret_key: &[0; 32],
            tool: "imgbake test",
            source_pin: None,
            source_known: true,
            asked: &BTreeMap::new(),
        };
        imgbake_plan::plan(&request).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Begins a job; its events wait to be read.
    pub fn begin(&self) -> (Job, imgbake_runtime::EventReceiver) {
        let id = imgbake_runtime::job::new_id("test");
        let (events, listener) = Events::channel(&id, Secrets::default());
        let job = Job::begin(&self.home, &id, Cancel::new(), events, Secrets::default()).unwrap();
        (job, listener)
    }

    /// Builds a plan with layers, in a job of its own that is over when this returns.
    pub async fn build(&self, plan: &Plan) -> Result<Verified, stage::Failure> {
        let (job, _events) = self.begin();
        let built = self.build_in(&job, plan, Some(&self.layers)).await;
        let built = match built {
            Err(mut failure) => {
                for machine in &mut failure.machines {
                    machine.end().await;
                }
                Err(failure)
            }
            built => built,
        };
        job.end().unwrap();
        built
    }

    /// Builds a plan in a job.
    pub async fn build_in(
        &self,
        job: &Job,
        plan: &Plan,
        layers: Option<&Layers>,
    ) -> Result<Verified, stage::Failure> {
        stage::run(Build {
            job,
            plan,
            components: &self.components,
            tool: "imgbake test",
            origin: None,
            layers,
            slots: &self.slots,
            rescue: None,
            keep_failed: false,
        })
        .await
    }
}

/// A raw disk with some data on it.
fn base_disk(path: &Utf8Path) {
    let file = File::create(path).unwrap();
    file.set_len(DISK).unwrap();
    file.write_all_at(&[7; 5000], 4096).unwrap();
}

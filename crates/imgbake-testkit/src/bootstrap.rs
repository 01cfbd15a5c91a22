//! The bootstrap of a template, by itself.

use camino::Utf8Path;
use imgbake_bootstrap::Bootstrap;
use imgbake_build::{SourceContext, SourceProvider};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_types::{Digest, Plan, Stage};

use crate::TestHome;

/// The repository's folder.
pub fn repository() -> camino::Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize_utf8().unwrap()
}

/// Bootstraps a template's base disk in a home of its own and gives the digest of its bytes.
pub fn bootstrap_digest(template: &Utf8Path) -> Digest {
    let home = TestHome::new();
    let plan: Plan =
        serde_json::from_value(home.run(&["plan", template.as_str(), "--json"]).json()[0].clone())
            .unwrap();
    let (step, source) = plan.source().unwrap();
    let secrets = Secrets::default();
    let (events, _listener) = Events::channel("bootstrap-test", secrets.clone());
    let job = Job::begin(&Home::new(home.home()), "bootstrap-test", Cancel::new(), events, secrets)
        .unwrap();
    let stage = job.events().stage(Stage::Source, "source");
    let context = SourceContext { job: &job, key: &step.key, arch: plan.image.arch, stage: &stage };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let disk = runtime.block_on(Bootstrap.fetch(&context, source)).unwrap();
    let image = imgbake_disk::DiskImage::open(&disk.local().unwrap().path).unwrap();
    let digest = Digest::from_sha256(&imgbake_disk::hash::hash_disk(&image, &mut |_| {}).unwrap());
    job.end().unwrap();
    digest
}

//! A repository of a registry is an image.

use std::time::Duration;

use imgbake_build::{Channels, Image};
use imgbake_oci::Repository;
use imgbake_registry::transfer::{End, copy};
use imgbake_registry::{Layout, RemoteImage};
use imgbake_testkit::{
    DockerRegistry, DockerSettings, Habits, TestHome, TestRegistry, conformance,
};
use imgbake_types::Target;

use crate::fixture::Fixture;

const NAME: &str = "team/web";
/// Far less than in life: nobody who waits here is alive.
const PATIENCE: Duration = Duration::from_millis(30);

fn open(fixture: &Fixture, repository: &Repository) -> RemoteImage {
    RemoteImage::new(&fixture.job, repository.clone()).patience(PATIENCE)
}

async fn suite(fixture: &Fixture, host: &str) {
    let repository = fixture.repository(host, NAME).await;
    let open = || Box::new(open(fixture, &repository)) as Box<dyn Image>;
    conformance::image(&open).await;
}

#[tokio::test]
async fn a_repository_passes_the_suite() {
    let plain = Habits::default();
    for (habits, folder) in [
        (plain.clone(), "remote"),
        (Habits { never_deletes: true, ..plain.clone() }, "remote"),
        (Habits { no_referrers: true, ..plain }, "remote-without-referrers"),
    ] {
        let never_deletes = habits.never_deletes;
        let registry = TestRegistry::start(habits).await;
        registry.load(NAME, &TestHome::stored("format-1").dir().join(folder));
        suite(&Fixture::new(), &registry.host()).await;
        let left = registry.tags(NAME).iter().filter(|tag| tag.contains(".vote-")).count();
        assert_eq!(left > 0, never_deletes, "what is over is taken away where that can be");
    }
}

#[tokio::test]
async fn a_repository_of_a_real_registry_passes_the_suite() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let (fixture, home) = (Fixture::new(), TestHome::stored("format-1"));
    let layout = Layout::open(home.home().join("registry")).unwrap();
    let from = End::local(&layout, "web").unwrap();
    let to = fixture.remote(&docker.host(), NAME).await;
    for version in ["2026.11.21-1", "2026.11.22-1"] {
        let target = Target::Tag(version.to_owned());
        copy(&fixture.job, &from, &target, &to, None).await.unwrap();
    }
    suite(&fixture, &docker.host()).await;
    // The registry's own clean-up takes no record away.
    let image = open(&fixture, &fixture.repository(&docker.host(), NAME).await);
    let channel = "conformance".parse().unwrap();
    let before = image.history(&channel).await.unwrap();
    docker.collect_garbage();
    assert_eq!(image.history(&channel).await.unwrap(), before);
}

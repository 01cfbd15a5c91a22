//! Base disks that are native to a builder.

use async_trait::async_trait;
use imgbake_build::{
    BaseDisk, BuildError, BuildErrorKind, NativeDisk, Pin, SourceContext, SourceProvider,
};
use imgbake_runtime::Job;
use imgbake_testkit::fake::{FakeWorld, Features};
use imgbake_types::plan::Source;
use imgbake_types::{Arch, EventKind, Stage};

use crate::common::{STEPS, ended, ran};

/// Gives a native disk, whatever the template names.
struct NativeSource(NativeDisk);

#[async_trait]
impl SourceProvider for NativeSource {
    fn knows(&self, _: &Source) -> bool {
        true
    }

    fn check(&self, _: &Source) -> Result<(), BuildError> {
        Ok(())
    }

    async fn pin(&self, _: &Job, _: &Source, _: Arch) -> Result<Pin, BuildError> {
        Ok(Pin::Fixed)
    }

    async fn fetch(&self, _: &SourceContext<'_>, _: &Source) -> Result<BaseDisk, BuildError> {
        Ok(BaseDisk::native(self.0.clone()))
    }
}

/// A world whose base disk is native to a builder of this kind.
fn world(features: Features, builder: &str) -> FakeWorld {
    let mut world = FakeWorld::new(features);
    let disk = world.builder.import("disk-1", world.base().local().unwrap());
    let disk = NativeDisk { builder: builder.to_owned(), ..disk };
    world.components.sources.insert(0, Box::new(NativeSource(disk)));
    world
}

#[tokio::test]
async fn a_build_from_a_native_base_gives_what_one_from_its_file_gives() {
    let local = FakeWorld::new(Features::ALL);
    let expected = local.build(&local.plan(STEPS)).await.unwrap().version;
    for features in [Features::ALL, Features { native_disks: true, ..Features::NONE }] {
        let world = world(features, "fake");
        let plan = world.plan(STEPS);
        let (job, mut events) = world.begin();
        let built = world.build_in(&job, &plan, Some(&world.layers)).await.unwrap().version;
        assert_eq!(built.disk.sha256, expected.disk.sha256);
        let parent = built.parent.unwrap();
        assert_eq!(
            (parent.kind.as_str(), parent.native.as_deref()),
            ("native", Some("fake:disk-1"))
        );
        let mut details = Vec::new();
        while let Ok(event) = events.try_recv() {
            match event.kind {
                EventKind::StageFinished { stage: Stage::Source, bytes, detail, .. } => {
                    details.push((bytes, detail));
                }
                EventKind::Layer { .. } => panic!("a native disk has no layers: {event:?}"),
                _ => {}
            }
        }
        assert_eq!(details, [(0, "native disk fake:disk-1".to_owned())]);
        job.end().unwrap();
        // Every step runs again.
        let before = ran(&world);
        world.build(&plan).await.unwrap();
        assert_eq!(ran(&world), [&before[..], &before[..]].concat());
    }
}

#[tokio::test]
async fn a_builder_refuses_a_disk_that_it_cannot_boot() {
    for (features, owner) in [(Features::ALL, "moon"), (Features::NONE, "fake")] {
        let world = world(features, owner);
        let failure = world.build(&world.plan(STEPS)).await.err().unwrap();
        let (kind, message) = ended(failure).await;
        let expected = format!(
            "the builder `fake` cannot boot the disk `disk-1`: it is native to the builder `{owner}`"
        );
        assert_eq!((kind, message), (BuildErrorKind::Usage, expected));
        assert_eq!(world.builder.running(), 0);
    }
    let world = world(Features::ALL, "moon");
    let error = world.base().native_to("moon").unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Usage);
    assert!(error.to_string().starts_with("the builder `moon` cannot boot /"), "{error}");
    assert_eq!(error.help_text(), Some("use a source that is native to `moon`"));
}

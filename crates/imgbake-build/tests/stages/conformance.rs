//! The fake builder is a builder.

use std::time::Duration;

use imgbake_build::BaseDisk;
use imgbake_runtime::journal::{Cleaners, sweep};
use imgbake_testkit::conformance::{Subject, builder};
use imgbake_testkit::fake::{FakeWorld, Features};
use imgbake_types::MachineSpec;

#[tokio::test]
async fn the_fake_builder_passes_the_suite() {
    for (features, native) in [
        (Features::ALL, false),
        (Features::ALL, true),
        (Features::NONE, false),
        (Features { saves: false, ..Features::ALL }, false),
        (Features { native_disks: true, ..Features::NONE }, true),
    ] {
        let world = FakeWorld::new(features);
        let (job, _events) = world.begin();
        let base = world.base();
        let imported = world.builder.import("imported", base.local().unwrap());
        let subject = Subject {
            builder: &world.builder,
            job: &job,
            machine: MachineSpec::new("fake"),
            disk: if native { BaseDisk::native(imported) } else { base },
            limit: Duration::from_secs(10),
        };
        builder(&subject).await;
        assert_eq!(world.builder.running(), 0);
        // A snapshot is its job's, and goes with it.
        assert_eq!(world.builder.native_disks().len(), 1 + usize::from(features.snapshots));
        assert_eq!(job.end().is_err(), features.snapshots);
        drop(job);
        let cleaners = Cleaners::default().with(world.builder.cleaner());
        sweep(&world.home, true, &cleaners).await.unwrap();
        assert_eq!(world.builder.native_disks(), ["imported"]);
    }
}

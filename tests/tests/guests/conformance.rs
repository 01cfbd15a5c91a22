//! The QEMU builder is a builder: the suite that every builder passes, with the tiny guest.

use std::time::Duration;

use imgbake_qemu::{Accel, QemuBuilder, QemuSpec};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};
use imgbake_testkit::conformance::{Subject, builder};
use imgbake_testkit::{TestHome, lock_guests, tiny_disk};
use imgbake_types::Size;

#[tokio::test(flavor = "multi_thread")]
async fn the_qemu_builder_passes_the_suite() {
    let (home, disk) = (TestHome::new(), tokio::task::spawn_blocking(tiny_disk).await.unwrap());
    let (events, _listener) = Events::channel("conformance", Secrets::default());
    let secrets = Secrets::default();
    let job =
        Job::begin(&Home::new(home.home()), "conformance", Cancel::new(), events, secrets).unwrap();
    let spec = QemuSpec {
        accel: Accel::Tcg,
        cpus: Some(1),
        memory: Some(Size::mib(256)),
        ..QemuSpec::default()
    };
    let _lock = lock_guests();
    builder(&Subject {
        builder: &QemuBuilder::new(),
        job: &job,
        machine: spec.machine(),
        disk,
        limit: Duration::from_secs(300),
    })
    .await;
    job.end().unwrap();
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

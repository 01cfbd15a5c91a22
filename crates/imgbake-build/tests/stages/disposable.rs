//! Disposable machines: of a layer, of a draft, of a disk.

use imgbake_build::cache::Found;
use imgbake_build::disposable::Identity;
use imgbake_build::{
    Builder, Disposable, DisposableRequest, MachineRequest, Purpose, Seed, Snapshot,
};
use imgbake_comm::Exec;
use imgbake_runtime::Job;
use imgbake_testkit::fake::{Answer, FakeWorld, Features};
use imgbake_types::{Arch, MachineSpec};
use uuid::Uuid;

use crate::common::{STEPS, world};

fn request<'a>(
    world: &'a FakeWorld,
    job: &'a Job,
    machine: &'a MachineSpec,
) -> DisposableRequest<'a> {
    DisposableRequest {
        job,
        builder: &world.builder,
        name: "try",
        arch: Arch::X86_64,
        machine,
        firmware: machine.firmware(Arch::X86_64),
        purpose: Purpose::Build,
        user: "root",
    }
}

async fn answers(machine: Disposable) -> bool {
    let comm = machine.connected.as_ref().unwrap();
    assert_eq!(comm.check(Exec::new("echo here")).await.unwrap(), "here\n");
    let resumed = machine.resumed;
    machine.end().await;
    resumed
}

#[tokio::test]
async fn a_layer_is_resumed_and_else_boots() {
    let world = world();
    let plan = world.plan(STEPS);
    world.build(&plan).await.unwrap();
    let (job, _events) = world.begin();
    let machine = plan.machine.clone();
    let key = &plan.layers()[2].key;
    let Found::Layer(layer) = world.layers.cache.find(key) else { panic!("no layer") };
    let snapshot = Snapshot::of_layer(layer);
    let request = request(&world, &job, &machine);
    assert!(answers(Disposable::start(request, &snapshot).await.unwrap()).await);
    world.builder.once("@resume try", Answer::fails(1, "bad state"));
    assert!(!answers(Disposable::start(request, &snapshot).await.unwrap()).await);
    // The layer is as it was.
    assert!(answers(Disposable::start(request, &snapshot).await.unwrap()).await);
    assert_eq!(world.builder.running(), 0);
    job.end().unwrap();
}

#[tokio::test]
async fn a_draft_needs_no_cache() {
    let native = Features { native_disks: true, snapshots: true, ..Features::NONE };
    for (features, resumed) in [
        (Features::ALL, true),
        (Features { saves: false, ..Features::ALL }, false),
        (native, false),
    ] {
        let world = FakeWorld::new(features);
        let (job, _events) = world.begin();
        let machine = MachineSpec::new("fake");
        let disk = world.base();
        let seed = Seed::new(job.id(), "build", "root", true);
        let firmware = machine.firmware(Arch::X86_64);
        let uuid = Uuid::new_v4();
        let booted = MachineRequest {
            name: "build".to_owned(),
            arch: Arch::X86_64,
            machine: machine.clone(),
            firmware,
            purpose: Purpose::Build,
            disk: disk.clone(),
            seed: seed.clone(),
            uuid,
            saved: None,
        };
        let mut build = world.builder.boot(&job, booted).await.unwrap();
        let signature = world.builder.signature(&job, Arch::X86_64, &machine, firmware).await;
        let identity = Identity { seed: &seed, uuid, booted_from: &disk, extra_disks: 0 };
        let draft = Snapshot::draft(&job, "one", &mut *build, identity, signature.ok());
        let draft = draft.await.unwrap();
        // The machine that it was made of runs on.
        let request = request(&world, &job, &machine);
        assert_eq!(answers(Disposable::start(request, &draft).await.unwrap()).await, resumed);
        assert_eq!(world.builder.running(), 1);
        build.end().await;
        assert_eq!(world.builder.native_disks().len(), usize::from(features == native));
        assert_eq!(job.end().is_ok(), features != native, "its cleaner removes a native draft");
    }
}

#[tokio::test]
async fn a_disk_boots() {
    let world = world();
    let (job, _events) = world.begin();
    let machine = MachineSpec::new("fake");
    let request = request(&world, &job, &machine);
    let snapshot = Snapshot::of_disk(world.base());
    assert!(!answers(Disposable::start(request, &snapshot).await.unwrap()).await);
    job.end().unwrap();
}

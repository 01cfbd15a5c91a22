//! Each stage: success, failure, interrupt, a machine that falls, a full disk.

use imgbake_build::BuildErrorKind as Kind;
use imgbake_testkit::fake::{Answer, Effect};
use imgbake_types::record::VerifyStatus;
use imgbake_types::{EventKind, Stage};

use crate::common::{STEPS, ended, ran, world};

#[tokio::test]
async fn a_build_runs_every_stage() {
    let world = world();
    let plan = world.plan(STEPS);
    let (job, mut events) = world.begin();
    let version = world.build_in(&job, &plan, None).await.unwrap().version;
    assert_eq!(version.verify.status, VerifyStatus::Passed);
    assert_eq!(
        ran(&world),
        ["boot build", "first-step", "second-step", "boot verify-1", "third-test"]
    );
    let mut stages = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let EventKind::StageFinished { stage, .. } = event.kind {
            stages.push(stage);
        }
    }
    let all = [
        Stage::Source,
        Stage::Boot,
        Stage::Provision,
        Stage::Provision,
        Stage::Seal,
        Stage::Capture,
        Stage::Publish,
        Stage::Verify,
    ];
    assert_eq!(stages, all);
    let recorded: Vec<Stage> = version.stages.iter().map(|record| record.stage).collect();
    assert_eq!(recorded, [&all[..6], &all[7..]].concat(), "publish is reported by its event alone");
    assert_eq!(version.proof.machine.builder, "fake");
    assert_eq!(world.builder.running(), 0);
    job.end().unwrap();
}

/// Sizes of the published disk are no layer's matter: builds of several share theirs.
#[tokio::test]
async fn a_published_disk_may_be_longer_than_the_machines() {
    let world = world();
    let plan = |size: &str| world.plan(&format!("{STEPS}[publish]\ndisk_size = \"{size}\"\n"));
    let (small, large) = (plan("1536KiB"), plan("2MiB"));
    assert_eq!(small.layers(), large.layers());
    let first = world.build(&small).await.unwrap().version;
    let before = ran(&world).len();
    let second = world.build(&large).await.unwrap().version;
    assert_eq!((first.disk.virtual_size, second.disk.virtual_size), (1536 << 10, 2 << 20));
    assert!(!ran(&world)[before..].contains(&"first-step".to_owned()), "its layers are used");
    assert!(second.disk.stored_bytes < 1 << 20, "what is the same is stored once");
    let failure = world.build(&plan("4KiB")).await.err().unwrap();
    assert_eq!(failure.error.kind(), Kind::Usage);
    assert!(failure.error.to_string().contains("no disk is cut"), "{}", failure.error);
}

/// Where in a build something happens to the machine; whether it is the building machine.
const MOMENTS: [(&str, &str); 6] = [
    ("boot", "@boot build"),
    ("connect", "@connect build"),
    ("plant", "imgbake-canary"),
    ("provision", "second-step"),
    ("seal", "NONCE="),
    ("power off", "@power-off"),
];

#[tokio::test]
async fn a_machine_that_falls_ends_the_build_at_once() {
    for (moment, word) in MOMENTS {
        for (effect, kind) in [
            (Effect::Panic, Kind::Machine),
            (Effect::Restart, Kind::Machine),
            (Effect::DiskFull, Kind::Full),
        ] {
            if (moment, effect) == ("boot", Effect::Restart) {
                continue; // Nobody has looked at it yet.
            }
            let world = world();
            world.builder.on(word, Answer::then(effect));
            let failure = world.build(&world.plan(STEPS)).await.err();
            let failure = failure.unwrap_or_else(|| panic!("{moment}, {effect:?}: it was built"));
            let (found, message) = ended(failure).await;
            assert_eq!(found, kind, "{moment}, {effect:?}: {message}");
            assert_eq!(world.builder.running(), 0, "{moment}, {effect:?}");
            let versions = world.components.registry.versions(None).await.unwrap();
            assert!(versions.is_empty(), "{moment}, {effect:?}");
        }
    }
}

#[tokio::test]
async fn a_machine_whose_program_crashes_while_it_boots_is_started_once_more() {
    let world = world();
    world.builder.once("@boot build", Answer::then(Effect::Crash));
    world.build(&world.plan(STEPS)).await.unwrap();
    assert_eq!(ran(&world)[..2], ["boot build", "boot build"]);

    let world = crate::common::world();
    world.builder.on("@boot build", Answer::then(Effect::Crash));
    let (kind, message) = ended(world.build(&world.plan(STEPS)).await.err().unwrap()).await;
    assert_eq!(kind, Kind::Machine, "{message}");
    assert_eq!(ran(&world), ["boot build", "boot build"]);
}

#[tokio::test]
async fn what_a_guest_refuses_fails_its_stage() {
    for (word, expected) in [
        ("imgbake-canary", "no such luck"),
        ("first-step", "step `one`"),
        ("second-step", "step `two`"),
        ("NONCE=", "sealing the machine ended early"),
    ] {
        let world = world();
        world.builder.on(word, Answer::fails(3, "no such luck\n"));
        let failure = world.build(&world.plan(STEPS)).await.err().unwrap();
        let (kind, message) = ended(failure).await;
        assert_eq!(kind, Kind::Failed, "{word}: {message}");
        assert!(message.contains(expected), "{word}: {message}");
        assert_eq!(world.builder.running(), 0);
    }
}

#[tokio::test]
async fn an_interrupt_ends_every_stage() {
    for word in ["@connect build", "imgbake-canary", "second-step", "NONCE=", "third-test"] {
        let world = world();
        world.builder.on(word, Answer::then(Effect::Hang));
        let plan = world.plan(STEPS);
        let (job, mut events) = world.begin();
        let building = world.build_in(&job, &plan, None);
        tokio::pin!(building);
        // Each stage says that it began; the one that hangs is the last.
        let quiet = async {
            let limit = std::time::Duration::from_millis(300);
            while tokio::time::timeout(limit, events.recv()).await.is_ok() {}
        };
        tokio::select! {
            built = &mut building => panic!("{word}: {:?}", built.err()),
            () = quiet => job.cancel().cancel(),
        }
        let (kind, message) = ended(building.await.err().unwrap()).await;
        assert_eq!(kind, Kind::Cancelled, "{word}: {message}");
        assert_eq!(world.builder.running(), 0, "{word}");
        job.end().unwrap();
    }
}

#[tokio::test]
async fn a_version_whose_clone_fails_is_kept_and_marked() {
    for (word, answer) in [
        ("third-test", Answer::fails(1, "")),
        ("third-test", Answer::then(Effect::Panic)),
        ("@connect verify-1", Answer::then(Effect::Panic)),
        ("cloud-init status", Answer::ok("exit 1\nsaid status: error\n")),
    ] {
        let world = world();
        world.builder.on(word, answer);
        let failure = world.build(&world.plan(STEPS)).await.err().unwrap();
        assert!(failure.machines.is_empty() && failure.version.is_some(), "{word}");
        let (kind, message) = ended(failure).await;
        assert_eq!(kind, Kind::Failed, "{message}");
        let versions = world.components.registry.versions(None).await.unwrap();
        let version = versions[0].readable().unwrap();
        assert_eq!(version.verify.status, VerifyStatus::Failed, "{word}");
        assert_eq!(world.builder.running(), 0);
    }
}

#[tokio::test]
async fn a_builder_that_refuses_a_machine_ends_the_build_before_anything_is_made() {
    let world = world();
    let plan = world.plan(&format!("stuff = \"air\"\n{STEPS}"));
    let (kind, message) = ended(world.build(&plan).await.err().unwrap()).await;
    assert_eq!((kind, message.as_str()), (Kind::Usage, "no machine is made of thin air"));
    assert!(ran(&world).is_empty());

    let mut plan = world.plan(STEPS);
    "moon".clone_into(&mut plan.machine.builder);
    let (kind, message) = ended(world.build(&plan).await.err().unwrap()).await;
    assert_eq!((kind, message.as_str()), (Kind::Usage, "this imgbake has no builder `moon`"));
}

#[tokio::test]
async fn a_disk_that_is_no_file_is_captured_as_well() {
    let features = imgbake_testkit::fake::Features {
        disk_is_a_file: false,
        ..imgbake_testkit::fake::Features::NONE
    };
    let bytes = imgbake_testkit::fake::FakeWorld::new(features);
    let file = world();
    let mut tables = Vec::new();
    for world in [&bytes, &file] {
        let version = world.build(&world.plan(STEPS)).await.unwrap().version;
        tables.push(version.disk.sha256.unwrap());
    }
    assert_eq!(tables[0], tables[1], "the same steps write the same disk");
}

//! The walk through the layers: what is used, what is made anew.

use imgbake_build::cache::CacheMode;
use imgbake_testkit::fake::{Answer, Effect, FakeWorld, Features};
use imgbake_types::{EventKind, LayerAction};

use crate::common::{STEPS, ended, ran, world};

/// The runs of a build after the first one.
async fn again(world: &FakeWorld, rest: &str) -> Vec<String> {
    let before = ran(world).len();
    world.build(&world.plan(rest)).await.unwrap();
    ran(world).split_off(before)
}

#[tokio::test]
async fn the_deepest_layer_is_resumed() {
    let world = world();
    world.build(&world.plan(STEPS)).await.unwrap();
    let changed = STEPS.replace("second-step", "second-step # changed");
    let runs = again(&world, &changed).await;
    assert_eq!(runs, ["resume build", "second-step", "boot verify-1", "third-test"]);
    // Nothing is left to do but what no layer holds.
    let runs = again(&world, &changed).await;
    assert_eq!(runs, ["resume build", "boot verify-1", "third-test"]);
}

#[tokio::test]
async fn without_memory_the_layers_disk_boots() {
    for (world, mode) in [
        (world(), CacheMode::Disk),
        (FakeWorld::new(Features { saves: false, ..Features::ALL }), CacheMode::Full),
    ] {
        let mut world = world;
        world.layers.mode = mode;
        world.build(&world.plan(STEPS)).await.unwrap();
        let runs = again(&world, STEPS).await;
        assert_eq!(runs, ["boot build", "boot verify-1", "third-test"]);
    }
}

#[tokio::test]
async fn a_builder_that_freezes_no_disk_builds_without_layers() {
    let world = FakeWorld::new(Features::NONE);
    world.build(&world.plan(STEPS)).await.unwrap();
    let runs = again(&world, STEPS).await;
    assert_eq!(runs, ["boot build", "first-step", "second-step", "boot verify-1", "third-test"]);
}

#[tokio::test]
async fn a_machine_that_cannot_be_resumed_boots_from_its_disk_and_else_from_the_layer_before() {
    let world = world();
    world.build(&world.plan(STEPS)).await.unwrap();
    world.builder.once("@resume build", Answer::fails(1, "bad state"));
    let runs = again(&world, STEPS).await;
    assert_eq!(runs, ["resume build", "boot build", "boot verify-1", "third-test"]);

    // Neither its state nor its disk: the layer before it, and its step again.
    world.builder.once("@resume build", Answer::then(Effect::Panic));
    world.builder.once("@boot build", Answer::then(Effect::Panic));
    let runs = again(&world, STEPS).await;
    let expected = [
        "resume build",
        "boot build",
        "resume build",
        "second-step",
        "boot verify-1",
        "third-test",
    ];
    assert_eq!(runs, expected);
    assert_eq!(world.builder.running(), 0);
}

#[tokio::test]
async fn a_step_that_failed_leaves_the_layers_before_it() {
    let world = world();
    world.builder.once("second-step", Answer::fails(1, ""));
    ended(world.build(&world.plan(STEPS)).await.err().unwrap()).await;
    let runs = again(&world, STEPS).await;
    assert_eq!(runs, ["resume build", "second-step", "boot verify-1", "third-test"]);
}

#[tokio::test]
async fn what_cannot_be_saved_does_not_fail_the_build() {
    for (word, answer, cached) in [
        ("@freeze build", Answer::fails(1, "no"), false),
        ("@save build", Answer::fails(1, "no"), true),
    ] {
        let world = world();
        world.builder.on(word, answer);
        let (job, mut events) = world.begin();
        world.build_in(&job, &world.plan(STEPS), Some(&world.layers)).await.unwrap();
        job.end().unwrap();
        let mut warned = Vec::new();
        let mut saved = 0;
        while let Ok(event) = events.try_recv() {
            match event.kind {
                EventKind::Notice { message, .. } if !message.contains("without a checksum") => {
                    warned.push(message);
                }
                EventKind::Layer { action: LayerAction::Saved, .. } => saved += 1,
                _ => {}
            }
        }
        assert_eq!(warned.len(), 1, "{word}: it is reported once: {warned:?}");
        // The source's layer needs no machine.
        assert_eq!(saved, if cached { 4 } else { 1 }, "{word}");
    }
}

#[tokio::test]
async fn two_builds_of_one_plan_make_each_layer_once() {
    let world = world();
    let plan = world.plan(STEPS);
    let (one, two) = tokio::join!(world.build(&plan), world.build(&plan));
    one.unwrap();
    two.unwrap();
    let steps = ran(&world).iter().filter(|line| line.ends_with("-step")).count();
    assert_eq!(steps, 2, "{:?}", ran(&world));
}

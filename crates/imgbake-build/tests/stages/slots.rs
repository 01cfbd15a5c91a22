//! Machines are counted.

use std::time::Duration;

use imgbake_build::{BuildErrorKind, Slots};
use imgbake_testkit::fake::{Answer, Effect};

use crate::common::{STEPS, ended, world};

const SOON: Duration = Duration::from_millis(20);

#[tokio::test]
async fn builds_wait_for_a_slot() {
    let mut world = world();
    world.slots = Slots::new(1);
    let plans = ["a", "b", "c"].map(|step| world.plan(&STEPS.replace("first", step)));
    let [a, b, c] = &plans;
    let (a, b, c) = tokio::join!(world.build(a), world.build(b), world.build(c));
    for built in [a, b, c] {
        built.unwrap();
    }
    assert_eq!(world.builder.most_at_once(), 1);
}

#[tokio::test]
async fn two_clones_hold_two_slots_or_run_in_turn() {
    for machines in [1, 2] {
        let mut world = world();
        world.slots = Slots::new(machines);
        // The first clone's test lasts until its limit: time enough for the second to boot.
        world.builder.once("third-test", Answer::then(Effect::Hang));
        let plan = world.plan(&format!("{STEPS}timeout = \"1s\"\n[verify]\nclones = 2\n"));
        let (kind, message) = ended(world.build(&plan).await.err().unwrap()).await;
        assert_eq!(kind, BuildErrorKind::Failed);
        assert!(message.contains("1 of"), "{message}");
        assert!(world.builder.most_at_once() <= machines);
        let all: Vec<_> = std::iter::from_fn(|| world.slots.try_take()).collect();
        assert_eq!(all.len(), machines, "every slot was given back");
    }
}

#[tokio::test]
async fn builds_with_two_clones_each_do_not_wait_for_each_other() {
    for machines in [1, 2, 3] {
        let mut world = world();
        world.slots = Slots::new(machines);
        let plans = ["a", "b", "c"].map(|step| {
            world.plan(&format!("{}[verify]\nclones = 2\n", STEPS.replace("first", step)))
        });
        let [a, b, c] = &plans;
        let (a, b, c) = tokio::join!(world.build(a), world.build(b), world.build(c));
        for built in [a, b, c] {
            built.unwrap();
        }
        assert!(world.builder.most_at_once() <= machines);
    }
}

#[tokio::test]
async fn builds_that_need_two_machines_each_do_not_wait_for_each_other() {
    let world = world();
    let (job, _events) = world.begin();
    let slots = Slots::new(2);
    let one = slots.take(&job).await.unwrap();
    let other = slots.take(&job).await.unwrap();
    assert!(slots.try_take().is_none());
    assert!(tokio::time::timeout(SOON, slots.take(&job)).await.is_err());
    // The first takes the reserve, the second waits for it.
    let beside = slots.take_beside(&job, &one).await.unwrap();
    assert!(tokio::time::timeout(SOON, slots.take_beside(&job, &other)).await.is_err());
    drop(beside);
    let beside = slots.take_beside(&job, &other).await.unwrap();
    assert!(slots.try_take().is_none(), "the reserve is for a machine beside another");
    drop((one, beside));
    assert!(slots.try_take().is_some());

    job.cancel().cancel();
    let held = slots.take(&job).await.unwrap();
    let error = slots.take(&job).await.err().unwrap();
    assert_eq!(error.kind(), BuildErrorKind::Cancelled);
    drop((held, other));
    job.end().unwrap();
}

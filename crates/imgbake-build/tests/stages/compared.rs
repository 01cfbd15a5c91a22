//! `converge = "check"`, `"shuffle"`, `[converge] steps = "all"` and the end states of two builds: which machines are made
//! for them, what decides a layer's key, and what is reported. What guests list is written by hand here.

use std::fmt::Write as _;
use std::fs;

use imgbake_build::BuildErrorKind as Kind;
use imgbake_build::Slots;
use imgbake_build::stage::{self, Build};
use imgbake_testkit::fake::{Answer, Effect, FakeWorld, Features};
use imgbake_types::plan::StepKind;
use imgbake_types::record::step::ProofPlace;
use imgbake_types::spec::Converge;
use imgbake_types::{EventKind, Plan};

use crate::common::{STEPS, ended, world};

/// A shell step that is compared.
const CHECKED: &str = "[[provision]]\nname = \"set\"\ntype = \"shell\"\ninline = [\"set it\"]\nconverge = \"check\"\n";

/// What a machine lists: its root, `/etc` and a file of this size and time.
fn files(size: u64, changed: u64) -> Answer {
    Answer::ok(&format!(
        "\u{2}41ed 0:0 4096 7 1 0:0 /\n\u{2}41ed 0:0 4096 7 1 0:0 /etc\n\
         \u{2}81a4 0:0 {size} 1 {changed} 0:0 /etc/conf\n\u{2}began 100\n"
    ))
}

/// A world whose machines list these files, before and after a second run.
fn listing(world: FakeWorld, before: Answer, after: Answer) -> FakeWorld {
    world.builder.on("list-unit-files --no-legend", Answer::ok("package\ta\t1\nend\t\t\n"));
    world.builder.on("\\002began", after).once("\\002began", before);
    world.builder.on("getfattr -h", Answer::ok(""));
    world
}

fn digest(letter: char) -> Answer {
    Answer::ok(&format!("{}  /etc/conf\n", letter.to_string().repeat(64)))
}

fn machines(world: &FakeWorld) -> Vec<String> {
    let started = |line: &String| line.starts_with("boot ") || line.starts_with("resume ");
    world.builder.ran().into_iter().filter(started).collect()
}

#[tokio::test]
async fn what_is_not_as_before_fails_the_build_with_a_diff() {
    let world = listing(world(), files(4, 5), files(6, 105));
    world
        .builder
        .on("head -c 65536", Answer::ok("old\n"))
        .once("head -c 65536", Answer::ok("new!!\n"));
    let (kind, message) = ended(world.build(&world.plan(CHECKED)).await.err().unwrap()).await;
    assert_eq!(kind, Kind::Failed, "{message}");
    for part in ["step `set` does not converge", "file[/etc/conf]: 4 → 6 bytes", "-old", "+new!!"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    // One copy after the other: at no time two beside the build's own machine.
    assert_eq!(machines(&world), ["boot build", "resume converge", "resume before"]);
    assert_eq!((world.builder.most_at_once(), world.builder.running()), (2, 0));
}

#[tokio::test]
async fn the_same_bytes_written_again_are_no_change() {
    for (after, converges) in [(digest('a'), true), (digest('b'), false), (Answer::ok(""), false)] {
        let world = listing(world(), files(4, 5), files(4, 105));
        // The copy that still is what the machine was is read last.
        world.builder.on("sha256sum -- ", digest('a')).once("sha256sum -- ", after.clone());
        let built = world.build(&world.plan(CHECKED)).await;
        assert_eq!(built.is_ok(), converges, "{after:?}");
        let Err(failure) = built else { continue };
        let (_, message) = ended(failure).await;
        assert!(message.contains("file[/etc/conf]: "), "{message}");
    }
}

#[tokio::test]
async fn a_machine_that_lists_nothing_is_no_proof() {
    let world = listing(world(), Answer::ok("\u{2}began 1\n"), Answer::ok(""));
    let (_, message) = ended(world.build(&world.plan(CHECKED)).await.err().unwrap()).await;
    assert!(message.contains("did not come whole"), "{message}");
}

#[tokio::test]
async fn without_copies_all_is_read_before_and_no_layer_is_saved_after() {
    let world = listing(FakeWorld::new(Features::NONE), files(4, 5), files(4, 105));
    world.builder.on("sha256sum -- ", digest('a'));
    let version = world.build(&world.plan(CHECKED)).await.unwrap().version;
    let stage = version.stages.iter().find(|stage| stage.name == "set").unwrap();
    let proof = stage.report.as_ref().unwrap().convergence.clone().unwrap();
    assert_eq!((proof.converged, proof.place), (true, ProofPlace::InPlace));
}

#[tokio::test]
async fn what_a_comparison_found_is_redacted_and_in_the_events() {
    let world = listing(world(), files(4, 5), files(6, 105));
    world.builder.on("head -c 65536", Answer::ok("token=Zq7-kLm0pWy9vT3s\n"));
    world.builder.once("head -c 65536", Answer::ok("token=none\n"));
    let (job, mut events) = world.begin();
    job.secrets().add("token", "Zq7-kLm0pWy9vT3s");
    let failure = world.build_in(&job, &world.plan(CHECKED), None).await.err().unwrap();
    assert!(!failure.error.to_string().contains("Zq7-kLm0"), "{}", failure.error);
    let stages = serde_json::to_string(&failure.stages).unwrap();
    assert!(stages.contains("token=") && !stages.contains("Zq7-kLm0"), "{stages}");
    ended(failure).await;
    job.end().unwrap();
    let mut judged = None;
    while let Ok(event) = events.try_recv() {
        if let EventKind::StepReport { name, report, .. } = event.kind
            && name == "set"
        {
            judged = report.convergence;
        }
    }
    assert!(!judged.unwrap().converged, "the last report of the step has the proof");
}

/// Two plays that write one file in turn, or what else their tasks do.
fn two_plays(world: &FakeWorld, tasks: [&str; 2], head: &str) -> Plan {
    let dir = world.dir();
    let mut text = head.to_owned();
    for (name, tasks) in ["first", "second"].into_iter().zip(tasks) {
        let play =
            format!("- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}");
        fs::write(dir.join(format!("{name}.yml")), play).unwrap();
        let _ = write!(
            text,
            "[[provision]]\nname = \"{name}\"\ntype = \"ansible\"\nplaybook = \"{name}.yml\"\n\
             extra_vars = {{ dir = \"{dir}\" }}\n"
        );
    }
    world.plan(&text)
}

const A: &str = "    - name: a\n      copy: {content: a, dest: \"{{ dir }}/page\"}\n";
const B: &str = "    - name: b\n      copy: {content: b, dest: \"{{ dir }}/page\"}\n";
const LOG: &str = "    - name: log\n      shell: echo x >> {{ dir }}/log\n";
const ALL: &str = "[converge]\nsteps = \"all\"\n";

#[tokio::test]
async fn two_steps_that_fight_are_found_by_running_all_again() {
    let world = world();
    world.build(&two_plays(&world, [A, B], "")).await.unwrap();
    let (kind, message) =
        ended(world.build(&two_plays(&world, [A, B], ALL)).await.err().unwrap()).await;
    assert_eq!(kind, Kind::Failed, "{message}");
    assert!(
        message.contains("run again after step `second`, in order, they changed 2"),
        "{message}"
    );
    for part in ["step `first`: copy[a]", "step `second`: copy[b]"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn a_layer_that_was_to_be_proved_later_is_no_proof() {
    let world = world();
    let failure = world.build(&two_plays(&world, [LOG, B], ALL)).await.err().unwrap();
    assert!(ended(failure).await.1.contains("step `first`: shell[log]"));
    // Its layer was kept, and is not the layer of a step that is proved after its own run.
    let (_, message) =
        ended(world.build(&two_plays(&world, [LOG, B], "")).await.err().unwrap()).await;
    assert!(message.contains("step `first` does not converge"), "{message}");
}

/// The plan with its last play run in another order: Ansible knows none, and runs in its own.
fn shuffled(mut plan: Plan) -> Plan {
    for step in &mut plan.steps {
        if let StepKind::Provision { provision } = &mut step.kind
            && step.name == "second"
        {
            provision.converge = Some(Converge::Shuffle);
            provision.converge_seed = Some(7);
        }
    }
    plan
}

#[tokio::test]
async fn another_order_runs_on_what_the_machine_was_before_the_step() {
    for (features, cached) in [(Features::ALL, true), (Features::ALL, false)] {
        let world = FakeWorld::new(features);
        let plan = shuffled(two_plays(
            &world,
            [A, "    - name: c\n      copy: {content: c, dest: \"{{ dir }}/c\"}\n"],
            "",
        ));
        let (job, _events) = world.begin();
        let layers = cached.then_some(&world.layers);
        let version = world.build_in(&job, &plan, layers).await.unwrap().version;
        job.end().unwrap();
        let stage = version.stages.iter().find(|stage| stage.name == "second").unwrap();
        let proof = stage.report.as_ref().unwrap().convergence.clone().unwrap();
        assert_eq!((proof.converged, proof.seed), (true, Some(7)));
        let made = machines(&world);
        assert!(made.iter().any(|line| line.ends_with(" shuffle")), "{made:?}");
        assert_eq!(world.builder.running(), 0);
    }
    // A layer from before an uncached step is not what the machine is before the next one.
    let world = self::world();
    let uncached = two_plays(&world, [A, A], "");
    let mut plan = shuffled(uncached);
    plan.steps.iter_mut().filter(|step| step.name != "source").for_each(|step| step.cache = false);
    let version = world.build(&plan).await.unwrap().version;
    assert!(version.stages.iter().any(|stage| stage.name == "second"));
    assert!(!world.builder.ran().iter().any(|line| line.contains("refused")));

    let world = FakeWorld::new(Features::NONE);
    let failure = world.build(&shuffled(two_plays(&world, [A, B], ""))).await.err().unwrap();
    assert!(
        failure.error.help_text().unwrap().contains("converge = \"once\""),
        "{}",
        failure.error
    );
    let (_, message) = ended(failure).await;
    assert!(message.contains("step `second`: the machine as it is before the step"), "{message}");
}

#[tokio::test]
async fn a_proof_takes_a_slot_and_builds_do_not_wait_for_each_other() {
    let mut world = listing(self::world(), files(4, 5), files(4, 5));
    world.builder.on("sha256sum -- ", digest('a'));
    world.slots = Slots::new(1);
    let plans = ["x", "y", "z"].map(|word| world.plan(&CHECKED.replace("set it", word)));
    let [a, b, c] = &plans;
    let (a, b, c) = tokio::join!(world.build(a), world.build(b), world.build(c));
    for built in [a, b, c] {
        built.unwrap();
    }
    assert!(world.builder.most_at_once() <= 2, "one more than was asked for");
}

#[tokio::test]
async fn end_states_of_two_machines_are_compared() {
    let world = listing(world(), files(4, 5), files(6, 7));
    world.builder.on("sha256sum -- ", digest('a'));
    let plan = world.plan(STEPS);
    let (job, _events) = world.begin();
    let build = Build {
        job: &job,
        plan: &plan,
        components: &world.components,
        tool: "imgbake test",
        origin: None,
        layers: None,
        slots: &world.slots,
        rescue: None,
        keep_failed: false,
    };
    let one = stage::end_state(build).await.unwrap();
    let other = stage::end_state(build).await.unwrap();
    let found = one.differences(&other);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].message.as_deref(), Some("4 → 6 bytes"));
    assert!(one.differences(&one).is_empty());
    assert_eq!(world.builder.running(), 0);
    world.builder.on("\\002began", Answer::then(Effect::Panic));
    assert!(stage::end_state(build).await.is_err());
    assert_eq!(world.builder.running(), 0);
    job.end().unwrap();
}

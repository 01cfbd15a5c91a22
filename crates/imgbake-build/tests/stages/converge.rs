//! A step's second run, on a copy of the machine. Ansible runs for real, on this host: its plays change a folder of
//! the test, which stands for the machine and its copy.

use std::fs;
use std::time::Duration;

use imgbake_build::BuildErrorKind as Kind;
use imgbake_runtime::retry::Backoff;
use imgbake_testkit::fake::{Answer, Effect, FakeWorld, Features};
use imgbake_types::Plan;
use imgbake_types::record::VersionView;
use imgbake_types::record::step::{Convergence, ProofPlace};

use crate::common::{ended, world};

const COPY: &str = "    - name: page\n      copy: {content: hello, dest: \"{{ dir }}/page\"}\n";
const APPEND: &str = "    - name: log\n      shell: echo x >> {{ dir }}/log\n";

/// A plan with one play of these tasks.
fn plan(world: &FakeWorld, tasks: &str, more: &str) -> Plan {
    plan_for(world, "all", tasks, more)
}

/// A plan with one play, for these hosts.
fn plan_for(world: &FakeWorld, hosts: &str, tasks: &str, more: &str) -> Plan {
    let dir = world.dir();
    let play =
        format!("- hosts: {hosts}\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}");
    fs::write(dir.join("site.yml"), play).unwrap();
    world.plan(&format!(
        "[[provision]]\nname = \"site\"\ntype = \"ansible\"\nplaybook = \"site.yml\"\n\
         extra_vars = {{ dir = \"{dir}\" }}\n{more}"
    ))
}

fn convergence(version: &VersionView) -> Convergence {
    let stage = version.stages.iter().find(|stage| stage.name == "site").unwrap();
    stage.report.as_ref().unwrap().convergence.clone().unwrap()
}

fn machines(world: &FakeWorld) -> Vec<String> {
    let started = |line: &String| line.starts_with("boot ") || line.starts_with("resume ");
    world.builder.ran().into_iter().filter(started).collect()
}

#[tokio::test]
async fn a_second_run_that_changes_nothing_is_kept_as_evidence() {
    let world = world();
    let plan = plan(&world, COPY, "");
    let version = world.build(&plan).await.unwrap().version;
    let proof = convergence(&version);
    assert!(proof.converged && proof.changed.is_empty(), "{proof:?}");
    assert_eq!((proof.counts.unchanged, proof.place), (1, ProofPlace::Copy));
    assert!(proof.seconds >= proof.run_seconds && proof.run_seconds > 0.0, "{proof:?}");
    assert_eq!(machines(&world), ["boot build", "resume converge", "boot verify-1"]);
    // The step's layer has the proof too.
    let again = world.build(&plan).await.unwrap().version;
    let kept = convergence(&again);
    assert!((kept.run_seconds - proof.run_seconds).abs() < 0.001, "{kept:?}");
    assert_eq!((kept.converged, kept.counts, kept.place), (true, proof.counts, proof.place));
    let copies = machines(&world).iter().filter(|line| *line == "resume converge").count();
    assert_eq!(copies, 1, "what was proved is not proved again");
    assert_eq!(world.builder.running(), 0);
}

#[tokio::test]
async fn a_step_that_changes_something_at_each_run_fails_the_build() {
    for (features, cached, builds) in
        [(Features::ALL, true, 2), (Features::ALL, false, 1), (Features::NONE, true, 1)]
    {
        let world = FakeWorld::new(features);
        let plan = plan(&world, &[COPY, APPEND].concat(), "");
        for _ in 0..builds {
            let (job, _events) = world.begin();
            let layers = cached.then_some(&world.layers);
            let failure = world.build_in(&job, &plan, layers).await.err().unwrap();
            assert!(failure.version.is_none() && failure.machines.len() == 1);
            let (kind, words) = ended(failure).await;
            assert_eq!(kind, Kind::Failed, "{words}");
            assert!(words.contains("step `site` does not converge in one run"), "{words}");
            assert!(words.contains("its second run changed 1 resource\n"), "{words}");
            assert!(words.contains("shell[log] (") && words.contains("site.yml:7)"), "{words}");
            assert!(!words.contains("page"), "{words}");
            job.end().unwrap();
            assert_eq!(world.builder.running(), 0);
        }
        // Nothing of it was kept: the step ran twice in each build.
        assert_eq!(fs::read_to_string(world.dir().join("log")).unwrap(), "x\n".repeat(2 * builds));
    }
}

#[tokio::test]
async fn what_may_change_is_named_and_a_proof_can_be_left_out() {
    for allowed in ["log", "shell[*]", "*"] {
        let world = world();
        let more = format!("converge_allow = [\"{allowed}\"]\n");
        let proof = convergence(&world.build(&plan(&world, APPEND, &more)).await.unwrap().version);
        assert!(proof.converged, "{proof:?}");
        assert_eq!(proof.changed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["log"]);
    }
    let world = world();
    let plan = plan(&world, APPEND, "converge = \"off\"\n");
    let version = world.build(&plan).await.unwrap().version;
    assert!(
        version.stages.iter().all(|stage| {
            stage.report.as_ref().is_none_or(|report| report.convergence.is_none())
        })
    );
    assert_eq!(fs::read_to_string(world.dir().join("log")).unwrap(), "x\n");
}

#[tokio::test]
async fn a_second_run_that_fails_is_no_proof() {
    let world = world();
    let once = "    - name: once\n      shell: mkdir {{ dir }}/once\n";
    let failure = world.build(&plan(&world, once, "")).await.err().unwrap();
    let words = failure.error.to_string();
    assert!(words.contains("step `site`: its second run failed: "), "{words}");
    assert!(words.contains("File exists"), "{words}");
}

#[tokio::test]
async fn where_no_copy_can_be_made_the_machine_itself_has_two_runs() {
    let world = FakeWorld::new(Features::NONE);
    let proof = convergence(&world.build(&plan(&world, COPY, "")).await.unwrap().version);
    assert_eq!((proof.converged, proof.place), (true, ProofPlace::InPlace));
}

#[tokio::test]
async fn a_copy_that_does_not_answer_gives_way_and_an_interrupt_ends_it() {
    let world = world();
    world.builder.on("@connect converge", Answer::then(Effect::Panic));
    let proof = convergence(&world.build(&plan(&world, COPY, "")).await.unwrap().version);
    assert_eq!((proof.converged, proof.place), (true, ProofPlace::InPlace));
    assert_eq!(world.builder.running(), 0);

    let world = self::world();
    world.builder.on("@connect converge", Answer::then(Effect::Hang));
    let plan = plan(&world, COPY, "");
    let (job, _events) = world.begin();
    let building = world.build_in(&job, &plan, Some(&world.layers));
    let copied = async {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
        while !machines(&world).contains(&"resume converge".to_owned()) {
            backoff.wait().await;
        }
        job.cancel().cancel();
    };
    let (built, ()) = tokio::join!(building, copied);
    let (kind, words) = ended(built.err().unwrap()).await;
    assert_eq!(kind, Kind::Cancelled, "{words}");
    assert_eq!(world.builder.running(), 0);
    job.end().unwrap();
}

#[tokio::test]
async fn a_playbook_that_cannot_be_read_is_refused_before_any_machine() {
    let world = world();
    let failure = world.build(&plan(&world, "    - nosuchmodule: {}\n", "")).await.err().unwrap();
    let (kind, words) = ended(failure).await;
    assert_eq!(kind, Kind::Usage, "{words}");
    assert!(words.contains("nosuchmodule") && words.contains("site.yml"), "{words}");
    assert!(world.builder.ran().is_empty(), "{:?}", world.builder.ran());
}

#[tokio::test]
async fn a_second_run_for_nobody_is_no_proof() {
    let world = world();
    // No play is for the machine as soon as there is a page.
    let dir = world.dir();
    let hosts =
        format!("\"{{{{ lookup('pipe', 'test -e {dir}/page && echo none || echo all') }}}}\"");
    let plan = plan_for(&world, &hosts, COPY, "");
    let failure = world.build(&plan).await.err().unwrap();
    let words = failure.error.to_string();
    assert!(
        words.contains("its second run failed: ") && words.contains("it ran no task"),
        "{words}"
    );
}

//! Memory is bounded whatever a run prints. A test binary of its own: the kernel's high-water mark counts the whole
//! process.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{Access, StepContext, StepRecorder};
use imgbake_comm::exec::OutputSink;
use imgbake_comm::{CommError, CommErrorKind, Communicator, Exec, Exit};
use imgbake_runtime::{Cancel, EventReceiver, Events, Home, Job, Secrets};
use imgbake_types::EventKind;
use imgbake_types::record::step::ResourceOutcome::{Changed, Skipped, Unchanged};
use imgbake_types::record::step::{Resource, ResourceCounts, ResourceOutcome};
use imgbake_types::spec::ProvisionSpec;
use serde_json::json;

/// Tasks that write a file of the test's, with a diff.
const FILES: usize = 10;
/// Tasks that print, and say that they changed something; then those that say that they did not; then those that are
/// skipped.
const LOUD: [usize; 3] = [250, 30, 10];
/// Lines that each of them prints, of some 100 bytes.
const LINES: usize = 200;

#[tokio::test]
async fn a_playbook_of_300_tasks_with_5_mb_of_output_takes_less_than_200_mib() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap();
    let playbook = dir.join("site.yml");
    std::fs::write(&playbook, play()).unwrap();
    let settings = json!({"playbook": playbook, "extra_vars": {"dir": dir}});
    let spec = ProvisionSpec::of("ansible", &settings).unwrap();

    let secrets = Secrets::default();
    secrets.add("token", "Zq7-kLm0pWy9vT3s");
    let (events, listener) = Events::channel("test", secrets.clone());
    let job = Job::begin(&Home::new(dir.join("home")), "test", Cancel::new(), events, secrets);
    let job = job.unwrap();
    let seen = tokio::spawn(watch(listener));
    let recorder = StepRecorder::begin(&job, "step", "ansible").live(true);
    let access = nowhere();
    let context = StepContext {
        job: &job,
        name: "step",
        spec: &spec,
        comm: &NoMachine,
        access: &access,
        recorder: &recorder,
        shuffle: None,
    };
    let provisioners = imgbake_provision::provisioners();
    let ansible = provisioners.iter().find(|one| one.kind().name == "ansible").unwrap();
    ansible.provision(&context).await.unwrap();
    let report = recorder.finish(None);
    job.end().unwrap();
    let seen = seen.await.unwrap();

    let [changed, unchanged, skipped] = LOUD;
    let counts = ResourceCounts {
        changed: (changed + FILES) as u64,
        unchanged: unchanged as u64,
        skipped: skipped as u64,
        failed: 0,
    };
    assert_eq!((report.counts, report.counts.total()), (counts, 300));
    assert!(seen.output > 5_000_000, "{} bytes", seen.output);
    let named = |one: &Resource| one.name.clone();
    let listed: BTreeSet<String> =
        report.resources.iter().filter(|one| one.outcome == Changed).map(named).collect();
    let wanted: BTreeSet<String> = (0..changed)
        .map(|at| name(Changed, at))
        .chain((0..FILES).map(|at| format!("file {at}")))
        .collect();
    assert_eq!((&listed, &seen.changed), (&wanted, &wanted));
    for at in 0..FILES {
        let file = report.resources.iter().find(|one| one.name == format!("file {at}")).unwrap();
        assert!(file.diff.as_ref().unwrap().contains("+line of file"), "{file:?}");
    }
    let peak = peak_mib();
    println!("peak memory: {peak} MiB, {} bytes of output", seen.output);
    assert!(peak < 200, "{peak} MiB");
}

fn name(outcome: ResourceOutcome, at: usize) -> String {
    format!("{outcome:?} {at}")
}

fn play() -> String {
    let mut text =
        "- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n".to_owned();
    for (outcome, count) in [Changed, Unchanged, Skipped].into_iter().zip(LOUD) {
        for at in 0..count {
            let (changed, when) = (outcome == Changed, outcome != Skipped);
            writeln!(
                text,
                "    - name: {}\n      debug: {{msg: \"{{{{ ['{} words'] * {LINES} }}}}\"}}\n      \
                 changed_when: {changed}\n      when: {when}",
                name(outcome, at),
                "some ".repeat(16)
            )
            .unwrap();
        }
    }
    for at in 0..FILES {
        writeln!(
            text,
            "    - name: file {at}\n      copy: {{content: \"{{{{ 'line of file {at}\\n' * 1000 }}}}\", \
             dest: \"{{{{ dir }}}}/{at}\"}}"
        )
        .unwrap();
    }
    text
}

/// What was told while the step ran.
#[derive(Default)]
struct Seen {
    /// Bytes of lines.
    output: usize,
    /// Resources that were said to have changed.
    changed: BTreeSet<String>,
}

async fn watch(mut events: EventReceiver) -> Seen {
    let mut seen = Seen::default();
    while let Some(event) = events.recv().await {
        match event.kind {
            EventKind::Output { line, .. } => seen.output += line.len() + 1,
            EventKind::Resource { resource, .. } => {
                assert_eq!(resource.outcome, Changed, "{resource:?}");
                assert!(seen.changed.insert(resource.name.clone()), "twice: {resource:?}");
            }
            EventKind::StepReport { .. } => return seen,
            _ => {}
        }
    }
    seen
}

/// Ansible runs on this host, and asks no machine.
struct NoMachine;

#[async_trait]
impl Communicator for NoMachine {
    fn user(&self) -> &'static str {
        "root"
    }

    async fn run(&self, _: Exec, _: OutputSink<'_>) -> Result<Exit, CommError> {
        Err(CommError::new(CommErrorKind::TimedOut, "there is no machine"))
    }
}

fn nowhere() -> Access {
    Access {
        host: "127.0.0.1".to_owned(),
        port: 1,
        user: "root".to_owned(),
        key: Utf8PathBuf::from("/nonexistent"),
        host_key: "ssh-ed25519 AAAA".to_owned(),
    }
}

/// The process's peak resident memory (proc(5), `VmHWM`).
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

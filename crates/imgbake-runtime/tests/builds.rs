//! Records of builds, from synthetic events.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::fs;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::builds::{BuildRecord, BuildRetention, BuildState, StoredBuild, list, sweep};
use imgbake_runtime::journal::Journal;
use imgbake_runtime::{Events, Home, Secrets};
use imgbake_types::event::Stream;
use imgbake_types::record::build::{BuildStart, FORMAT};
use imgbake_types::{EventKind, Outcome, Stage};
use jiff::{SignedDuration, Timestamp};

struct Ground {
    home: Home,
    _dir: tempfile::TempDir,
}

/// A build that runs.
struct Running {
    events: Events,
    listener: imgbake_runtime::EventReceiver,
    journal: Journal,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(Utf8Path::from_path(dir.path()).unwrap());
        home.ensure().unwrap();
        Self { home, _dir: dir }
    }

    fn dir(&self, id: &str) -> Utf8PathBuf {
        self.home.builds().join(id)
    }

    fn begin(&self, id: &str, started: Timestamp) -> Running {
        let journal = Journal::begin(&self.home, id).unwrap();
        let secrets = Secrets::default();
        secrets.add("token", "hunter2hunter2");
        let (events, listener) = Events::channel(id, secrets);
        let start = BuildStart {
            format: FORMAT,
            id: id.to_owned(),
            image: "web".to_owned(),
            template: "web.toml".into(),
            started,
            imgbake: "imgbake test".to_owned(),
        };
        events.record_in(BuildRecord::begin(&self.home, &start).unwrap());
        Running { events, listener, journal }
    }

    fn ended(&self, id: &str, started: Timestamp) {
        let running = self.begin(id, started);
        running.events.emit(finished(Outcome::Done, None));
        running.journal.end().unwrap();
    }

    fn only(&self) -> StoredBuild {
        let mut builds = list(&self.home).unwrap();
        assert_eq!(builds.len(), 1);
        builds.remove(0)
    }

    fn ids(&self) -> Vec<String> {
        list(&self.home).unwrap().iter().map(|build| build.id().to_owned()).collect()
    }
}

fn finished(outcome: Outcome, error: Option<&str>) -> EventKind {
    EventKind::BuildFinished {
        outcome,
        reference: None,
        digest: None,
        channel: None,
        virtual_size: None,
        stored_bytes: None,
        seconds: 2.5,
        error: error.map(str::to_owned),
    }
}

fn step(events: &Events, name: &str, lines: &[&str], outcome: Outcome) {
    let stage = events.stage(Stage::Provision, name);
    for line in lines {
        events.output(name, Stream::Stdout, *line);
    }
    stage.end(outcome, 1, String::new());
}

#[test]
fn a_failed_build_keeps_each_step() {
    let ground = Ground::new();
    let running = ground.begin("build-1", Timestamp::now());
    step(&running.events, "first", &["one", "the token is hunter2hunter2"], Outcome::Done);
    step(&running.events, "a/../b", &["two"], Outcome::Failed);
    running.events.output("build", Stream::Console, "boot");
    assert_eq!(ground.only().state(), BuildState::Running);
    running.events.emit(finished(Outcome::Failed, Some("step `a/../b`: exit code 3")));
    running.journal.end().unwrap();

    let build = ground.only();
    assert_eq!(build.state(), BuildState::Ended(Outcome::Failed));
    let failed = build.result().unwrap().failed.clone().unwrap();
    assert_eq!((failed.stage, failed.name.as_str()), (Stage::Provision, "a/../b"));
    let stages = build.stages().unwrap();
    let ends: Vec<_> = stages.iter().map(|s| (s.name.as_str(), s.outcome)).collect();
    assert_eq!(ends, [("first", Some(Outcome::Done)), ("a/../b", Some(Outcome::Failed))]);
    let outputs = build.outputs().unwrap();
    let shown: Vec<(&str, bool, Vec<&str>)> = outputs
        .iter()
        .map(|o| (o.name.as_str(), o.console, o.lines.iter().map(|l| l.line.as_str()).collect()))
        .collect();
    assert_eq!(
        shown,
        [
            ("first", false, vec!["one", "the token is ***"]),
            ("a/../b", false, vec!["two"]),
            ("build", true, vec!["boot"]),
        ]
    );
}

#[test]
fn a_killed_build_keeps_what_was_there() {
    let ground = Ground::new();
    let running = ground.begin("build-1", Timestamp::now());
    step(&running.events, "first", &["one"], Outcome::Done);
    running.events.output("second", Stream::Stderr, "half");
    // The lock goes with the process; a kill can cut the last line.
    drop(running);
    let events = ground.dir("build-1").join("events.jsonl");
    let mut text = fs::read(&events).unwrap();
    text.extend_from_slice(b"{\"time\":\"2026-");
    fs::write(&events, text).unwrap();

    let build = ground.only();
    assert_eq!(build.state(), BuildState::Killed);
    assert_eq!(build.stages().unwrap().len(), 1);
    assert_eq!(build.outputs().unwrap()[1].lines[0].line, "half");
}

#[test]
fn a_hostile_output_is_bounded_and_keeps_its_end() {
    let ground = Ground::new();
    let running = ground.begin("build-1", Timestamp::now());
    for number in 0..60_000 {
        running.events.output(
            "noise",
            Stream::Stdout,
            format!("\u{1b}[31m{number} {}", "x".repeat(70)),
        );
    }
    running.events.output("noise", Stream::Stdout, "y".repeat(5 << 20));
    for number in 0..100 {
        running.events.output(&format!("name {number}"), Stream::Stdout, "line");
    }
    let size: u64 = ground
        .dir("build-1")
        .join("output")
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 1 << 20, "{size}");
    let outputs = ground.only().outputs().unwrap();
    assert_eq!(outputs.len(), 64);
    let noise = &outputs[0];
    assert_eq!(noise.omitted + noise.lines.len() as u64, 60_001);
    assert!(noise.lines.last().unwrap().line.starts_with("yyy"));
}

#[test]
fn a_full_disk_ends_the_record_with_one_warning() {
    let ground = Ground::new();
    let mut running = ground.begin("build-1", Timestamp::now());
    step(&running.events, "first", &["one"], Outcome::Done);
    // Nothing can be written into a folder that is gone.
    fs::remove_dir_all(ground.dir("build-1")).unwrap();
    step(&running.events, "second", &["two", "three"], Outcome::Done);
    running.events.emit(finished(Outcome::Done, None));
    let mut warnings = Vec::new();
    let mut count = 0;
    while let Ok(event) = running.listener.try_recv() {
        count += 1;
        if let EventKind::Notice { message, .. } = event.kind {
            warnings.push(message);
        }
    }
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("no more is recorded"), "{warnings:?}");
    // All the rest came through: three events of the first step, four of the second, the end.
    assert_eq!(count, 3 + 4 + 1 + 1);
}

#[test]
fn two_builds_at_once_keep_apart() {
    let ground = Arc::new(Ground::new());
    let threads: Vec<_> = ["build-1", "build-2"]
        .into_iter()
        .map(|id| {
            let ground = Arc::clone(&ground);
            std::thread::spawn(move || {
                let running = ground.begin(id, Timestamp::now());
                for number in 0..500 {
                    running.events.output("step", Stream::Stdout, format!("{id} {number}"));
                }
                running.events.emit(finished(Outcome::Done, None));
                running.journal.end().unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let builds = list(&ground.home).unwrap();
    assert_eq!(builds.len(), 2);
    for build in builds {
        let outputs = build.outputs().unwrap();
        assert_eq!((outputs.len(), outputs[0].lines.len()), (1, 500));
        assert!(outputs[0].lines.iter().all(|line| line.line.starts_with(build.id())));
    }
}

#[test]
fn what_cannot_be_read_hides_nothing() {
    let ground = Ground::new();
    ground.ended("build-1", Timestamp::now());
    ground.ended("build-2", Timestamp::now());
    fs::write(ground.dir("build-1").join("build.json"), "{\"format\":99,\"id\":7}").unwrap();
    let builds = list(&ground.home).unwrap();
    assert_eq!(builds.len(), 2);
    let newer = builds.iter().find(|build| build.id() == "build-1").unwrap();
    assert!(newer.start().unwrap_err().contains("format 99"));
    // Keys of a later imgbake of the same format are nothing to mind.
    let path = ground.dir("build-2").join("build.json");
    let text = fs::read_to_string(&path).unwrap().replacen('{', "{\"later\":[],", 1);
    fs::write(&path, text).unwrap();
    assert!(list(&ground.home).unwrap().iter().any(|build| build.start().is_ok()));
}

#[test]
fn old_records_go_and_running_ones_stay() {
    let ground = Ground::new();
    let now = Timestamp::now();
    let ago = |hours| now - SignedDuration::from_hours(hours);
    for (id, hours) in [("build-1", 1), ("build-2", 2), ("build-3", 3), ("build-old", 24 * 40)] {
        ground.ended(id, ago(hours));
    }
    let running = ground.begin("build-run", ago(24 * 50));
    fs::create_dir(ground.dir(".gone-build-0")).unwrap();

    let days = BuildRetention { keep: 100, days: 30 };
    assert_eq!(sweep(&ground.home, days, now).unwrap(), 1);
    assert_eq!(ground.ids(), ["build-1", "build-2", "build-3", "build-run"]);
    assert!(!ground.dir(".gone-build-0").exists());
    let count = BuildRetention { keep: 2, days: 30 };
    assert_eq!(sweep(&ground.home, count, now).unwrap(), 1);
    assert_eq!(ground.ids(), ["build-1", "build-2", "build-run"]);
    // The build that ran still writes.
    running.events.emit(finished(Outcome::Done, None));
    running.journal.end().unwrap();
    assert_eq!(sweep(&ground.home, days, now).unwrap(), 1);

    // While another sweeps, nothing is done.
    let lock = fs::File::create(ground.home.builds().join(".lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(sweep(&ground.home, BuildRetention { keep: 0, days: 0 }, now).unwrap(), 0);
}

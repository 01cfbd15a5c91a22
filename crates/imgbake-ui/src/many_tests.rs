use imgbake_types::event::Stream;
use imgbake_types::{Digest, Reference, Stage};
use indicatif::{InMemoryTerm, ProgressDrawTarget};

use super::*;
use crate::{Display, Mode, Options};

fn play(kinds: Vec<(&str, EventKind)>, rows: u16) -> (Display, InMemoryTerm) {
    let term = InMemoryTerm::new(rows, 80);
    let options = Options { width: Some(80), height: Some(rows), ..Options::new(Mode::Bars) };
    let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
    let mut display = Display::on(options, target, false);
    for (job, kind) in kinds {
        display.handle(&Event { time: jiff::Timestamp::UNIX_EPOCH, job: job.to_owned(), kind });
        let lines = term.contents().lines().count();
        assert!(lines <= usize::from(rows), "{lines} lines");
    }
    (display, term)
}

fn queued(image: &str) -> EventKind {
    EventKind::BuildQueued { template: "t.toml".into(), image: image.into(), after: Vec::new() }
}

fn began(image: &str) -> EventKind {
    let plan = Digest::sha256("plan");
    EventKind::BuildStarted { template: "t.toml".into(), image: image.into(), plan, stages: 9 }
}

fn started(stage: Stage, name: &str) -> EventKind {
    EventKind::StageStarted { stage, name: name.to_owned() }
}

fn ended(stage: Stage, name: &str, outcome: Outcome) -> EventKind {
    let (name, detail) = (name.to_owned(), "as it was sent".to_owned());
    EventKind::StageFinished { stage, name, outcome, seconds: 61.0, bytes: 5 << 20, detail }
}

fn finished(image: &str, outcome: Outcome, error: Option<&str>) -> EventKind {
    let made = error.is_none();
    EventKind::BuildFinished {
        outcome,
        reference: made.then(|| Reference::tag(image, "2026.11.23-1")),
        digest: None,
        channel: (outcome == Outcome::Done).then(|| "dev".to_owned()),
        virtual_size: None,
        stored_bytes: made.then_some(231 << 20),
        seconds: 104.0,
        error: error.map(str::to_owned),
    }
}

fn one_of_each() -> Vec<(&'static str, EventKind)> {
    let line = "Setting up nginx".to_owned();
    vec![
        ("1", queued("web")),
        ("2", queued("db")),
        ("3", queued("ci")),
        ("4", queued("base")),
        ("5", queued("child")),
        ("6", queued("last")),
        ("7", queued("waits")),
        ("1", began("web")),
        ("2", began("db")),
        ("3", began("ci")),
        ("3", finished("ci", Outcome::Cached, None)),
        ("4", began("base")),
        ("4", started(Stage::Source, "source")),
        ("4", ended(Stage::Source, "source", Outcome::Failed)),
        ("4", finished("base", Outcome::Failed, Some("the mirror does not answer"))),
        ("5", finished("child", Outcome::Skipped, Some("its parent base failed"))),
        ("6", began("last")),
        ("6", ended(Stage::Source, "source", Outcome::Cached)),
        ("6", ended(Stage::Boot, "boot", Outcome::Cached)),
        ("6", ended(Stage::Restore, "restore", Outcome::Done)),
        ("6", ended(Stage::Provision, "nginx", Outcome::Warning)),
        ("6", finished("last", Outcome::Done, None)),
        ("7", began("waits")),
        ("7", EventKind::Waiting { what: "a layer".to_owned() }),
        ("1", ended(Stage::Source, "source", Outcome::Cached)),
        ("1", started(Stage::Provision, "nginx")),
        ("1", EventKind::Output { name: "nginx".to_owned(), stream: Stream::Stdout, line }),
        ("2", started(Stage::Source, "source")),
        (
            "2",
            EventKind::StageProgress {
                stage: Stage::Source,
                name: "source".to_owned(),
                done: 160 << 20,
                total: Some(640 << 20),
            },
        ),
    ]
}

#[test]
fn one_view_of_all() {
    let (mut display, term) = play(one_of_each(), 24);
    insta::assert_snapshot!("many_running", term.contents());
    display.finish();
    insta::assert_snapshot!("many_finished", term.contents());
}

#[test]
fn there_are_never_more_lines_than_the_terminal_has() {
    let names: Vec<String> = (1..=40).map(|number| format!("image-{number:02}")).collect();
    let all = |kind: &dyn Fn(&str) -> EventKind| -> Vec<(&str, EventKind)> {
        names.iter().map(|name| (name.as_str(), kind(name))).collect()
    };
    let mut kinds = all(&queued);
    kinds.extend(all(&began));
    let (_display, term) = play(kinds.clone(), 10);
    let screen = term.contents();
    let last = screen.lines().next_back().unwrap_or_default();
    assert!(last.contains("40 running") && last.ends_with("32 not shown"), "{screen}");
    assert_eq!(screen.matches("image-").count(), 8, "{screen}");

    kinds.extend(all(&|name| finished(name, Outcome::Done, None)));
    let (mut display, term) = play(kinds, 10);
    let screen = term.contents();
    let last = screen.lines().next_back().unwrap_or_default();
    assert!(last.starts_with("  40 done "), "{screen}");
    display.finish();
    let screen = term.contents();
    assert!(screen.lines().all(|line| line.contains("image-") && line.contains("231.0 MiB")));
}

#[test]
fn a_second_build_that_was_not_announced_joins_the_first() {
    let (_display, term) = play(
        vec![
            ("1", began("web")),
            ("1", started(Stage::Source, "source")),
            ("1", ended(Stage::Source, "source", Outcome::Done)),
            ("1", started(Stage::Boot, "boot")),
            ("2", began("db")),
        ],
        24,
    );
    insta::assert_snapshot!(term.contents());
}

#[test]
fn long_names_keep_their_ends() {
    let name = |end: &str| format!("debian-bookworm-with-a-very-long-name-{end}");
    let (small, large) = (name("small"), name("large"));
    let (mut display, term) = play(
        vec![
            ("1", queued(&small)),
            ("2", queued(&large)),
            ("1", began(&small)),
            ("2", began(&large)),
            ("1", started(Stage::Provision, "install-the-packages")),
            ("1", finished(&small, Outcome::Done, None)),
            ("2", finished(&large, Outcome::Failed, Some("a long story of what went wrong"))),
        ],
        24,
    );
    insta::assert_snapshot!("long_names_running", term.contents());
    display.finish();
    insta::assert_snapshot!("long_names_finished", term.contents());
}

#[test]
fn the_terminal_can_be_somebody_elses_for_a_while() {
    let mut kinds = one_of_each();
    let last = kinds.pop().expect("events");
    let (mut display, term) = play(kinds, 24);
    let before = term.contents();
    display.pause();
    display.pause();
    let paused = term.contents();
    assert!(before.contains("running") && !paused.contains("running"), "{paused}");
    assert!(!paused.contains("image  result"), "no results yet:\n{paused}");
    display.handle(&Event { time: jiff::Timestamp::UNIX_EPOCH, job: last.0.into(), kind: last.1 });
    let after = term.contents();
    assert!(after.contains("= ci ") && after.contains("3 running"), "{after}");
    assert_eq!(after.matches("✓ last").count(), 1, "{after}");
}

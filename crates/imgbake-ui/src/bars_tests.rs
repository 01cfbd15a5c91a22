use imgbake_types::event::Stream;
use imgbake_types::{Outcome, Stage};
use indicatif::InMemoryTerm;

use super::*;
use crate::{Display, Mode, Options};

fn play(kinds: Vec<(&str, EventKind)>, columns: u16, rows: u16) -> (Display, InMemoryTerm) {
    let term = InMemoryTerm::new(rows, columns);
    let options = Options { width: Some(columns), height: Some(rows), ..Options::new(Mode::Bars) };
    let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
    let mut display = Display::on(options, target, false);
    for (job, kind) in kinds {
        display.handle(&Event { time: jiff::Timestamp::UNIX_EPOCH, job: job.to_owned(), kind });
    }
    (display, term)
}

fn started(stage: Stage, name: &str) -> EventKind {
    EventKind::StageStarted { stage, name: name.to_owned() }
}

fn ended(stage: Stage, name: &str, outcome: Outcome, detail: &str) -> EventKind {
    let (name, detail) = (name.to_owned(), detail.to_owned());
    EventKind::StageFinished { stage, name, outcome, seconds: 61.0, bytes: 5 << 20, detail }
}

fn output(line: &str) -> EventKind {
    EventKind::Output { name: "nginx".to_owned(), stream: Stream::Stdout, line: line.to_owned() }
}

fn build(image: &str) -> EventKind {
    let plan = imgbake_types::Digest::sha256("plan");
    EventKind::BuildStarted { template: "t.toml".into(), image: image.to_owned(), plan, stages: 3 }
}

#[test]
fn output_scrolls_above_and_stages_stay_below() {
    let long = "E: the repository has no Release file and updating from it cannot be done securely";
    let (mut display, term) = play(
        vec![
            ("a", build("web")),
            ("a", started(Stage::Source, "source")),
            (
                "a",
                ended(
                    Stage::Source,
                    "source",
                    Outcome::Done,
                    "a detail that is too long for its place",
                ),
            ),
            ("a", started(Stage::Provision, "nginx")),
            ("a", output("\x1b[31mone\x1b[2J")),
            ("a", ended(Stage::Provision, "nginx", Outcome::Warning, long)),
            ("a", started(Stage::Seal, "seal")),
            ("a", output("two")),
        ],
        80,
        24,
    );
    let screen = term.contents();
    let (above, running) = screen.rsplit_once('\n').expect("many lines");
    assert!(running.contains(" seal  "), "{running}"); // its clock goes on
    insta::assert_snapshot!(above);
    display.finish();
    let left = term.contents();
    assert!(left.contains("✓ source") && !left.contains("seal"), "what did not end goes:\n{left}");
}

#[test]
fn a_build_without_room_keeps_every_line_once() {
    let mut kinds = vec![("a", build("web"))];
    let names: Vec<String> = (0..9).map(|n| format!("step-{n}")).collect();
    for name in &names {
        kinds.push(("a", started(Stage::Provision, name)));
        kinds.push(("a", ended(Stage::Provision, name, Outcome::Done, "")));
    }
    let (mut display, term) = play(kinds, 80, 30);
    display.finish();
    let left = term.contents();
    for name in &names {
        assert_eq!(left.matches(name.as_str()).count(), 1, "{name}\n{left}");
    }
}

#[test]
fn several_jobs_are_told_apart() {
    let (_display, term) = play(
        vec![
            ("a", build("web")),
            ("b", build("db")),
            ("a", started(Stage::Boot, "boot")),
            ("b", started(Stage::Boot, "boot")),
            ("b", ended(Stage::Boot, "boot", Outcome::Skipped, "cached")),
            ("a", ended(Stage::Boot, "boot", Outcome::Failed, "panicked")),
        ],
        80,
        24,
    );
    insta::assert_snapshot!(term.contents());
}

#[test]
fn a_meter_fills() {
    for (done, total, expected) in [
        (0, 10, (0, 20)),
        (5, 10, (10, 10)),
        (99, 10, (20, 0)),
        (u64::MAX, u64::MAX, (20, 0)),
        (1, 0, (0, 20)),
    ] {
        assert_eq!(fill(done, total, 20), expected, "{done} of {total}");
    }
}

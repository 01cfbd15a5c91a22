use imgbake_types::event::{LayerAction, Stream};
use imgbake_types::{Digest, EventKind, Outcome, Reference, Stage};
use indicatif::InMemoryTerm;

use super::*;
use crate::{Display, Mode, Options};

fn play(kinds: Vec<(&str, EventKind)>, columns: u16, rows: u16) -> (Display, InMemoryTerm) {
    play_as(Options::new(Mode::Bars), kinds, columns, rows)
}

fn play_as(
    options: Options,
    kinds: Vec<(&str, EventKind)>,
    columns: u16,
    rows: u16,
) -> (Display, InMemoryTerm) {
    let term = InMemoryTerm::new(rows, columns);
    let options = Options { width: Some(columns), height: Some(rows), ..options };
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
    let plan = Digest::sha256("plan");
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

fn layer(action: LayerAction, reason: &str) -> EventKind {
    EventKind::Layer {
        stage: Stage::Provision,
        name: "nginx".to_owned(),
        key: Digest::sha256("nginx"),
        action,
        disk_bytes: 120 << 20,
        state_bytes: 0,
        age: 7300.0,
        reason: reason.to_owned(),
    }
}

fn cached(stage: Stage, name: &str) -> EventKind {
    let (name, detail, outcome) = (name.to_owned(), "3 h old".to_owned(), Outcome::Cached);
    EventKind::StageFinished { stage, name, outcome, seconds: 0.0, bytes: 0, detail }
}

fn finished(outcome: Outcome, error: Option<&str>) -> EventKind {
    let made = error.is_none();
    EventKind::BuildFinished {
        outcome,
        reference: made.then(|| Reference::tag("web", "2026.11.23-1")),
        digest: None,
        channel: None,
        virtual_size: None,
        stored_bytes: None,
        seconds: 9.0,
        error: error.map(str::to_owned),
    }
}

#[test]
fn a_build_that_stands_on_layers() {
    let reason = "its state was saved by another QEMU; the machine boots from its disk";
    let (_display, term) = play(
        vec![
            ("a", build("web")),
            ("a", cached(Stage::Source, "source")),
            ("a", cached(Stage::Provision, "nginx")),
            ("a", layer(LayerAction::Refused, reason)),
            ("a", layer(LayerAction::Booted, "")),
            ("a", layer(LayerAction::Saved, "")),
            ("a", layer(LayerAction::Used, "")),
            ("a", started(Stage::Restore, "restore")),
            ("a", ended(Stage::Restore, "restore", Outcome::Done, "from the disk of `nginx`")),
            ("a", finished(Outcome::Done, None)),
        ],
        80,
        24,
    );
    insta::assert_snapshot!(term.contents());
}

#[test]
fn who_wants_details_hears_of_every_layer() {
    let options = Options { verbose: true, ..Options::new(Mode::Bars) };
    let layers = vec![
        ("a", layer(LayerAction::Saved, "without its state")),
        ("a", layer(LayerAction::Used, "")),
    ];
    let (_display, term) = play_as(options, layers, 80, 24);
    insta::assert_snapshot!(term.contents(), @r"
    · layer of `nginx` saved: 120.0 MiB disk, without its state
    · layer of `nginx` used: 2 h old, 120.0 MiB disk
    ");
}

#[test]
fn a_wait_is_a_status() {
    let wait = |what: &str| EventKind::Waiting { what: what.to_owned() };
    let running = ("a", started(Stage::Source, "source"));
    for (events, shown, gone) in [
        (vec![("a", wait("base"))], vec!["waiting", "for base"], vec![]),
        (vec![("a", wait("base")), ("a", wait("db"))], vec!["for db"], vec!["for base"]),
        (vec![running.clone(), ("a", wait("base"))], vec!["source", "waiting for base"], vec![]),
        (vec![("a", wait("base")), running.clone()], vec!["source"], vec!["base"]),
        (
            vec![("a", wait("base")), ("a", cached(Stage::Boot, "boot"))],
            vec!["= boot"],
            vec!["base"],
        ),
        (
            vec![("a", wait("base")), ("a", finished(Outcome::Failed, Some("no base")))],
            vec!["✗ web failed after 9.0s"],
            vec!["base"],
        ),
    ] {
        let events = std::iter::once(("a", build("web"))).chain(events).collect();
        let (mut display, term) = play(events, 80, 24);
        let screen = term.contents();
        for text in shown {
            assert!(screen.contains(text), "{text}\n{screen}");
        }
        for text in gone {
            assert!(!screen.contains(text), "{text}\n{screen}");
        }
        display.finish();
        assert!(!term.contents().contains("waiting"), "{}", term.contents());
    }
}

#[test]
fn a_build_that_did_nothing_takes_one_line() {
    for (outcome, error, line) in [
        (Outcome::Cached, None, "= already built: web:2026.11.23-1 has this plan"),
        (Outcome::Skipped, Some("base failed"), "– web was not started: base failed"),
    ] {
        let (mut display, term) =
            play(vec![("a", build("web")), ("a", finished(outcome, error))], 80, 24);
        display.finish();
        let screen = term.contents();
        assert_eq!(screen.lines().count(), 3, "{screen}");
        assert!(screen.ends_with(line), "{screen}");
    }
}

#[test]
fn nothing_is_wider_than_the_screen() {
    let word = "x".repeat(70);
    let path = format!("/srv/{word}/{word}.toml");
    let plan = Digest::sha256("plan");
    let kinds = vec![
        (
            "a",
            EventKind::BuildStarted { template: path.into(), image: "web".into(), plan, stages: 3 },
        ),
        ("a", output(&format!("    {word} {word}"))),
        ("a", ended(Stage::Provision, &word, Outcome::Cached, &word)),
        ("a", ended(Stage::Provision, &word, Outcome::Failed, &word)),
        ("a", layer(LayerAction::Refused, &word)),
        ("a", finished(Outcome::Failed, Some("x"))),
    ];
    let (mut display, term) = play(kinds.clone(), 60, 60);
    display.finish();
    // A screen that is wider shows where lines end by themselves.
    let options = Options { width: Some(60), height: Some(60), ..Options::new(Mode::Bars) };
    let wide = InMemoryTerm::new(60, 200);
    let target = ProgressDrawTarget::term_like(Box::new(wide.clone()));
    let mut display = Display::on(options, target, false);
    for (job, kind) in kinds {
        display.handle(&Event { time: jiff::Timestamp::UNIX_EPOCH, job: job.to_owned(), kind });
    }
    display.finish();
    assert_eq!(wide.contents(), term.contents());
    insta::assert_snapshot!(term.contents());
}

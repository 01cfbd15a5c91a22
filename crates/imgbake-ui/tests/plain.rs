//! What a log or a pipe sees: the same events give the same text.

use std::io::Write;
use std::sync::{Arc, Mutex};

use imgbake_types::event::{Level, Stream};
use imgbake_types::record::TestOutcome;
use imgbake_types::{Digest, Event, EventKind, Outcome, Reference, Stage};
use imgbake_ui::{Display, JsonLines, Mode, Options};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panicked").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no test panicked").clone()).expect("UTF-8")
    }
}

fn event(kind: EventKind) -> Event {
    Event { time: jiff::Timestamp::UNIX_EPOCH, job: "build-1".into(), kind }
}

fn shown(options: Options, events: Vec<EventKind>) -> String {
    let sink = Sink::default();
    let mut display = Display::new(options, Box::new(sink.clone()));
    for kind in events {
        display.handle(&event(kind));
    }
    display.finish();
    sink.text()
}

fn stage(
    stage: Stage,
    name: &str,
    outcome: Outcome,
    seconds: f64,
    bytes: u64,
    detail: &str,
) -> [EventKind; 2] {
    let (name, detail) = (name.to_owned(), detail.to_owned());
    [
        EventKind::StageStarted { stage, name: name.clone() },
        EventKind::StageFinished { stage, name, outcome, seconds, bytes, detail },
    ]
}

fn test(name: &str, passed: bool, detail: &str) -> EventKind {
    let (name, machine, detail) = (name.to_owned(), "verify-1".to_owned(), detail.to_owned());
    EventKind::TestFinished { result: TestOutcome { name, machine, passed, seconds: 0.2, detail } }
}

fn seal(operation: &str) -> EventKind {
    let paths = vec!["/etc/machine-id".to_owned(), "/var/lib/\x1bcdbus".to_owned()];
    EventKind::SealOperation {
        operation: operation.to_owned(),
        removed: 20,
        bytes: 600 << 10,
        paths,
    }
}

fn build(outcome: Outcome) -> Vec<EventKind> {
    let mut events = vec![EventKind::BuildStarted {
        template: "templates/web.toml".into(),
        image: "web".into(),
        plan: Digest::sha256("plan"),
        stages: 5,
    }];
    events.extend(stage(Stage::Source, "source", Outcome::Done, 41.2, 642_777_088, "cached"));
    events.push(EventKind::StageProgress {
        stage: Stage::Source,
        name: "source".into(),
        done: 1,
        total: None,
    });
    events.push(EventKind::Notice { level: Level::Warning, message: "emulating\nslowly".into() });
    events.push(EventKind::Output {
        name: "nginx".into(),
        stream: Stream::Stderr,
        line: "\x1b[31mred\x1b[0m\ttab".into(),
    });
    events.extend(stage(Stage::Provision, "nginx", outcome, 12.0, 0, ""));
    if outcome == Outcome::Failed {
        events.push(finished(outcome, None));
        return events;
    }
    events.push(EventKind::StageStarted { stage: Stage::Seal, name: "seal".into() });
    events.extend([seal("machine-id"), seal("logs")]);
    events.extend(stage(Stage::Seal, "seal", Outcome::Done, 3.0, 0, "").into_iter().skip(1));
    events.push(EventKind::StageStatus {
        stage: Stage::Verify,
        name: "verify".into(),
        status: "x".into(),
    });
    events.extend([test("serves", true, ""), test("starts", false, "exit 3\nno such unit")]);
    events.push(EventKind::Machine { machine: "verify-1".into(), what: "restarted".into() });
    events.push(EventKind::ChannelMoved {
        channel: Reference::tag("web", "dev"),
        version: "2026.11.23-1".into(),
        digest: Digest::sha256("m"),
    });
    events.push(finished(outcome, Some("dev")));
    events
}

fn finished(outcome: Outcome, channel: Option<&str>) -> EventKind {
    EventKind::BuildFinished {
        outcome,
        reference: channel.map(|_| Reference::tag("web", "2026.11.23-1")),
        digest: channel.map(|_| Digest::sha256("m")),
        channel: channel.map(str::to_owned),
        virtual_size: Some(4 << 30),
        stored_bytes: Some(242_221_056),
        seconds: 104.2,
        error: None,
    }
}

#[test]
fn a_build_in_plain_lines() {
    let text = shown(Options::new(Mode::Plain), build(Outcome::Done));
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "control codes in {text:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_failed_build_in_plain_lines() {
    insta::assert_snapshot!(shown(Options::new(Mode::Plain), build(Outcome::Failed)));
}

#[test]
fn a_verbose_build_tells_each_seal_operation() {
    let options = Options { verbose: true, ..Options::new(Mode::Plain) };
    let text = shown(options, build(Outcome::Done));
    assert!(
        text.contains("seal logs: 20 files, 600.0 KiB (/etc/machine-id, /var/lib/dbus)"),
        "{text}"
    );
}

#[test]
fn quiet_tells_what_is_wrong() {
    insta::assert_snapshot!(shown(Options::new(Mode::Quiet), build(Outcome::Done)), @r"
    warning: emulating slowly
    test starts on verify-1: failed in 0.2s
      exit 3
      no such unit
    machine verify-1: restarted
    ");
}

#[test]
fn json_lines_read_back() {
    let sink = Sink::default();
    let mut lines = JsonLines::new(Box::new(sink.clone()));
    let events: Vec<Event> = build(Outcome::Done).into_iter().map(event).collect();
    for event in &events {
        lines.write(event).expect("memory takes all");
    }
    let read: Vec<Event> =
        sink.text().lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(read, events);
}

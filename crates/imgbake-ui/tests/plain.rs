//! What a log or a pipe sees: the same events give the same text.

use std::io::Write;
use std::sync::{Arc, Mutex};

use imgbake_types::event::{LayerAction, Level, Stream};
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
    event_of("build-1", kind)
}

fn event_of(job: &str, kind: EventKind) -> Event {
    Event { time: jiff::Timestamp::UNIX_EPOCH, job: job.into(), kind }
}

fn shown(options: Options, events: Vec<EventKind>) -> String {
    shown_of(options, &events.into_iter().map(event).collect::<Vec<_>>())
}

fn shown_of(options: Options, events: &[Event]) -> String {
    let sink = Sink::default();
    let mut display = Display::new(options, Box::new(sink.clone()));
    for event in events {
        display.handle(event);
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
    let mut events: Vec<Event> = build(Outcome::Done).into_iter().map(event).collect();
    events.extend(several());
    for event in &events {
        lines.write(event).expect("memory takes all");
    }
    let read: Vec<Event> =
        sink.text().lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(read, events);
}

fn layer(action: LayerAction, reason: &str) -> EventKind {
    EventKind::Layer {
        stage: Stage::Provision,
        name: "nginx".to_owned(),
        key: Digest::sha256("nginx"),
        action,
        disk_bytes: 120 << 20,
        state_bytes: 270 << 20,
        age: 7300.0,
        reason: reason.to_owned(),
    }
}

fn warm() -> Vec<EventKind> {
    let [_, source] = stage(Stage::Source, "source", Outcome::Cached, 0.0, 0, "3 h old");
    let [_, nginx] = stage(Stage::Provision, "nginx", Outcome::Cached, 4.0, 1 << 20, "pulled");
    let mut events = vec![
        EventKind::BuildStarted {
            template: "templates/web.toml".into(),
            image: "web".into(),
            plan: Digest::sha256("plan"),
            stages: 5,
        },
        EventKind::Waiting { what: "another build that makes the layer of `nginx`".into() },
        source,
        nginx,
        layer(LayerAction::Used, ""),
        layer(LayerAction::Refused, "its state was saved by\nanother QEMU"),
        layer(LayerAction::Restored, ""),
    ];
    events.extend(stage(Stage::Restore, "restore", Outcome::Done, 2.1, 0, "at `nginx`"));
    events.push(layer(LayerAction::Saved, ""));
    events.push(finished(Outcome::Done, Some("dev")));
    events
}

#[test]
fn a_build_on_layers_in_plain_lines() {
    insta::assert_snapshot!(shown(Options::new(Mode::Plain), warm()));
}

#[test]
fn a_verbose_build_tells_each_layer() {
    let options = Options { verbose: true, ..Options::new(Mode::Plain) };
    let text = shown(options, warm());
    let layers: Vec<&str> = text.lines().filter(|line| line.starts_with("layer")).collect();
    assert_eq!(
        layers,
        [
            "layer of `nginx` used: 2 h old, 120.0 MiB disk, 270.0 MiB state",
            "layer of `nginx` not used: its state was saved by another QEMU",
            "layer of `nginx` saved: 120.0 MiB disk, 270.0 MiB state",
        ]
    );
}

#[test]
fn a_fallback_is_told_even_to_the_quiet() {
    let text = shown(Options::new(Mode::Quiet), warm());
    assert_eq!(text, "layer of `nginx` not used: its state was saved by another QEMU\n");
}

#[test]
fn nothing_to_do_is_one_line() {
    let text = shown(Options::new(Mode::Plain), vec![finished(Outcome::Cached, Some("dev"))]);
    assert_eq!(text, "= already built: web:2026.11.23-1 has this plan\n");
}

fn several() -> Vec<Event> {
    let queued = |image: &str, after: &[&str]| EventKind::BuildQueued {
        template: format!("templates/{image}.toml").into(),
        image: image.into(),
        after: after.iter().map(|image| (*image).to_owned()).collect(),
    };
    let mut events = vec![
        event_of("build-1", queued("web", &[])),
        event_of("build-2", queued("base", &[])),
        event_of("build-3", queued("child", &["base", "web"])),
        event_of("build-4", queued("late", &[])),
    ];
    events.extend(warm().into_iter().map(event));
    let plan = Digest::sha256("base");
    let (template, image) = ("templates/base.toml".into(), "base".into());
    let begin = EventKind::BuildStarted { template, image, plan, stages: 7 };
    events.push(event_of("build-2", begin));
    for kind in stage(Stage::Source, "source", Outcome::Failed, 3.0, 0, "no such file") {
        events.push(event_of("build-2", kind));
    }
    events.push(event_of("build-2", finished(Outcome::Failed, None)));
    let error = Some("base failed".to_owned());
    let mut skipped = finished(Outcome::Skipped, None);
    if let EventKind::BuildFinished { error: words, .. } = &mut skipped {
        *words = error;
    }
    events.push(event_of("build-3", skipped));
    events
}

#[test]
fn several_builds_end_with_their_results() {
    insta::assert_snapshot!(shown_of(Options::new(Mode::Plain), &several()));
}

#[test]
fn only_details_repeat_each_build_of_several() {
    let options = Options { verbose: true, ..Options::new(Mode::Plain) };
    let text = shown_of(options, &several());
    assert!(text.contains("imgbake show web:2026.11.23-1"), "{text}");
    let text = shown_of(Options::new(Mode::Quiet), &several());
    assert_eq!(text, "[web] layer of `nginx` not used: its state was saved by another QEMU\n");
}

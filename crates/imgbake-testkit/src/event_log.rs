//! What builds emit as events.

use jiff::Timestamp;
use serde_json::Value;

use crate::{Run, TestHome};

/// Events, in the order in which they were emitted.
#[derive(Debug, Clone)]
pub struct EventLog(Vec<Value>);

/// What `imgbake build` left.
#[derive(Debug)]
pub struct Built {
    /// The finished command.
    pub run: Run,
    /// Its events.
    pub events: EventLog,
}

impl Built {
    /// The events, if the command's exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> EventLog {
        assert_eq!(self.run.code, code, "{}", self.run);
        self.events
    }
}

impl TestHome {
    /// Runs `imgbake build` to its end.
    pub fn build(&self, args: &[&str]) -> Built {
        let events = self.free_events();
        let run = self.run(&[&["build"], args, &["--events", &events]].concat());
        Built { run, events: self.event_log(&events) }
    }

    /// The events in a file so far.
    pub fn event_log(&self, events: &str) -> EventLog {
        EventLog(self.events(events))
    }

    /// A name for a file of events that is not there yet.
    pub fn free_events(&self) -> String {
        let mut names = (1..).map(|number| format!("events-{number}.jsonl"));
        names.find(|name| !self.dir().join(name).exists()).unwrap()
    }
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

impl EventLog {
    /// All of a type.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|event| event["type"] == kind).collect()
    }

    /// The events of one image's build.
    pub fn of_image(&self, image: &str) -> Self {
        let begun = |event: &&Value| {
            ["build_queued", "build_started"].contains(&text(event, "type"))
                && event["image"] == image
        };
        let jobs: Vec<&str> = self.0.iter().filter(begun).map(|event| text(event, "job")).collect();
        let ours = |event: &&Value| jobs.contains(&text(event, "job"));
        Self(self.0.iter().filter(ours).cloned().collect())
    }

    /// Stages that ended so, by their names, in order.
    pub fn ended(&self, outcome: &str) -> Vec<&str> {
        let ended = self.of("stage_finished").into_iter();
        ended.filter(|event| event["outcome"] == outcome).map(|event| text(event, "name")).collect()
    }

    /// Steps that really ran: sources, boots and provisions that were done.
    pub fn ran(&self) -> Vec<&str> {
        let ran = |event: &&Value| {
            event["outcome"] == "done"
                && ["source", "boot", "provision"].contains(&text(event, "stage"))
        };
        let ended = self.of("stage_finished").into_iter().filter(ran);
        ended.map(|event| text(event, "name")).collect()
    }

    /// The layers with events of this kind (`saved`, `restored`, `booted`, `used`, `refused`), by their
    /// steps' names, in order.
    pub fn layers(&self, action: &str) -> Vec<&str> {
        self.layer_events(action).into_iter().map(|event| text(event, "name")).collect()
    }

    /// The same, as they were emitted.
    pub fn layer_events(&self, action: &str) -> Vec<&Value> {
        self.of("layer").into_iter().filter(|event| event["action"] == action).collect()
    }

    /// Why layers were refused.
    pub fn reasons(&self) -> Vec<&str> {
        self.layer_events("refused").into_iter().map(|event| text(event, "reason")).collect()
    }

    /// What the user was warned of, but for the tiny guest's disk: it comes without a checksum.
    pub fn warnings(&self) -> Vec<&str> {
        let notices = self.of("notice").into_iter();
        let severe = notices.filter(|event| event["level"] == "warning");
        let words = severe.map(|event| text(event, "message"));
        words.filter(|words| !words.contains("is used without a checksum")).collect()
    }

    /// How the build ended: the last one's outcome.
    pub fn outcome(&self) -> &str {
        self.of("build_finished").last().map_or("", |event| text(event, "outcome"))
    }

    /// Lines of a step's output that begin with a word: the rest of each, and when it came, in seconds
    /// since 1970.
    pub fn lines(&self, step: &str, word: &str) -> Vec<(f64, &str)> {
        let lines = self.of("output").into_iter().filter(|event| event["name"] == step);
        let timed = |event| Some((seconds(event), text(event, "line").strip_prefix(word)?.trim()));
        lines.filter_map(timed).collect()
    }

    /// Seconds from the first event that `from` picks to the first after it that `to` picks.
    #[track_caller]
    pub fn between(&self, from: impl Fn(&Value) -> bool, to: impl Fn(&Value) -> bool) -> f64 {
        let mut events = self.0.iter();
        let from = events.find(|event| from(event)).unwrap();
        let to = events.find(|event| to(event)).unwrap();
        seconds(to) - seconds(from)
    }
}

/// When an event was emitted, in seconds since 1970.
fn seconds(event: &Value) -> f64 {
    let time: Timestamp = text(event, "time").parse().unwrap();
    time.as_duration().as_secs_f64()
}

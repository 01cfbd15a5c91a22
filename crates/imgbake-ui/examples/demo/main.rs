//! Replays builds, to look at the display:
//! `demo [bars|plain|quiet] [color] [verbose] [fail|warm|same|many=BUILDS [parallel=N]]`.

mod many;
mod stages;

use std::io::Write;
use std::time::Duration;

use imgbake_types::event::Level;
use imgbake_types::record::TestOutcome;
use imgbake_types::{Digest, Event, EventKind, Outcome, Reference, Stage};
use imgbake_ui::{Display, Mode, Options};

use stages::{end, finish, output, progress, start, status};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|w| w == word);
    let number = |prefix: &str| words.iter().find_map(|w| w.strip_prefix(prefix)?.parse().ok());
    let mode = match () {
        () if has("plain") => Mode::Plain,
        () if has("quiet") => Mode::Quiet,
        () => Mode::Bars,
    };
    let options = Options {
        color: has("color"),
        width: number("width="),
        height: number("height="),
        verbose: has("verbose"),
        ..Options::new(mode)
    };
    let out: Box<dyn Write + Send> = Box::new(std::io::stdout());
    let mut display = Display::new(options, out);
    let events: Vec<(u64, String, EventKind)> = match number("many=") {
        Some(builds) => many::events(builds, number("parallel=").unwrap_or(4).into()),
        None => one(&has).into_iter().map(|(wait, kind)| (wait, "build-1".into(), kind)).collect(),
    };
    for (wait, job, kind) in events {
        pause(if mode == Mode::Bars { wait } else { 0 });
        display.handle(&Event { time: jiff::Timestamp::UNIX_EPOCH, job, kind });
    }
    display.finish();
}

fn one(has: &dyn Fn(&str) -> bool) -> Vec<(u64, EventKind)> {
    let mut events = match () {
        () if has("same") => return many::same("debian-12-web"),
        () if has("warm") => many::warm("debian-12-web"),
        () => until_provisioned(),
    };
    events.extend(if has("fail") { failure() } else { until_published() });
    events
}

#[expect(clippy::disallowed_methods, reason = "a replay goes at a speed that can be watched")]
fn pause(millis: u64) {
    // No poll: the pace of the demonstration itself.
    std::thread::sleep(Duration::from_millis(millis));
}

fn until_provisioned() -> Vec<(u64, EventKind)> {
    let plan = Digest::sha256("plan");
    let template = "templates/debian-12-web.toml".into();
    let image = "debian-12-web".into();
    let slow = "KVM is here but a guest does not reach 64-bit mode with it: emulating, which is \
                about ten times slower";
    let detail = "debian bookworm, 3.0 GiB disk, 812.4 MiB in use";
    let mut events = vec![
        (0, EventKind::BuildStarted { template, image, plan, stages: 8 }),
        start(Stage::Source, "source"),
    ];
    events.extend(progress(Stage::Source, 640 << 20));
    events.extend([
        end(Stage::Source, "source", 41.23, 642_777_088, detail),
        start(Stage::Boot, "boot"),
        status(Stage::Boot, "boot", "waiting for ssh"),
        (900, EventKind::Notice { level: Level::Warning, message: slow.into() }),
        end(Stage::Boot, "boot", 18.31, 0, "tcg, seabios"),
        start(Stage::Provision, "nginx"),
        output("nginx", "Reading package lists..."),
        output("nginx", "Setting up libssl3:amd64 (3.0.17-1~deb12u3) ..."),
        output("nginx", "\x1b[32mSetting up nginx\x1b[0m (1.22.1-9+deb12u3) ..."),
        output(
            "nginx",
            "Created symlink /etc/systemd/system/multi-user.target.wants/nginx.service",
        ),
    ]);
    events
}

fn failure() -> Vec<(u64, EventKind)> {
    let detail = "exit code 100: E: Unable to locate package ngnix";
    vec![finish(Stage::Provision, "nginx", Outcome::Failed, detail), finished(Outcome::Failed)]
}

fn finished(outcome: Outcome) -> (u64, EventKind) {
    let done = outcome == Outcome::Done;
    let kind = EventKind::BuildFinished {
        outcome,
        reference: done.then(|| Reference::tag("debian-12-web", "2026.11.23-1")),
        digest: done.then(|| Digest::sha256("m")),
        channel: done.then(|| "dev".into()),
        virtual_size: done.then_some(4 << 30),
        stored_bytes: done.then_some(242_221_056),
        seconds: 104.15,
        error: None,
    };
    (100, kind)
}

fn seal(operation: &str) -> (u64, EventKind) {
    let paths = vec!["/etc/machine-id".into()];
    (
        150,
        EventKind::SealOperation {
            operation: operation.into(),
            removed: 14,
            bytes: 430_000,
            paths,
        },
    )
}

fn test(name: &str, machine: &str, seconds: f64) -> (u64, EventKind) {
    let (name, machine, detail) = (name.into(), machine.into(), String::new());
    let result = TestOutcome { name, machine, passed: true, seconds, detail };
    (400, EventKind::TestFinished { result })
}

fn until_published() -> Vec<(u64, EventKind)> {
    let mut events = vec![
        finish(Stage::Provision, "nginx", Outcome::Done, "exit 0"),
        start(Stage::Seal, "seal"),
        seal("machine-id"),
        seal("ssh-host-keys"),
        seal("apt-lists"),
        end(Stage::Seal, "seal", 3.2, 0, ""),
        start(Stage::Capture, "capture"),
    ];
    events.extend(progress(Stage::Capture, 3 << 30));
    events.extend([
        end(Stage::Capture, "capture", 4.02, 851_968_000, "3.0 GiB read once, 231.0 MiB stored"),
        start(Stage::Publish, "publish"),
        end(Stage::Publish, "publish", 0.31, 242_221_056, "2026.11.23-1"),
        start(Stage::Verify, "verify"),
        status(Stage::Verify, "verify", "booting 2 clones"),
        test("cloud-init finished", "verify-1", 21.4),
        test("no failed units", "verify-1", 0.12),
        test("serves", "verify-1", 0.2),
        test("identities differ", "", 0.0),
        end(Stage::Verify, "verify", 25.04, 0, "4 of 4 passed"),
    ]);
    let channel = Reference::tag("debian-12-web", "dev");
    let digest = Digest::sha256("m");
    events.push((100, EventKind::ChannelMoved { channel, version: "2026.11.23-1".into(), digest }));
    events.push(finished(Outcome::Done));
    events
}

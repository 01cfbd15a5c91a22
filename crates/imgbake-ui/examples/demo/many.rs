//! Many builds at once, and builds that are based on layers.

use imgbake_types::event::{LayerAction, Level};
use imgbake_types::{Digest, EventKind, Outcome, Reference, Stage};

use super::stages::{end, finish, output, progress, start, status};

/// What a build does, each after so many milliseconds.
type Script = Vec<(u64, EventKind)>;

/// The events of so many builds, of which some run at a time: when, whose, what.
pub(super) fn events(builds: u16, parallel: usize) -> Vec<(u64, String, EventKind)> {
    let mut events = Vec::new();
    let mut waiting: Vec<(String, Script)> = Vec::new();
    for number in (1..=builds).rev() {
        let image = image(number);
        waiting.push((format!("build-{number}"), script(number, &image)));
    }
    for number in 1..=builds {
        let template = format!("templates/debian-12-{number}.toml").into();
        let after = if number % 5 == 0 { vec![image(1)] } else { Vec::new() };
        let kind = EventKind::BuildQueued { template, image: image(number), after };
        events.push((0, format!("build-{number}"), kind));
    }
    // Each running build with the time of its next event.
    let mut running: Vec<(u64, String, Script)> = Vec::new();
    let mut now = 0;
    loop {
        while running.len() < parallel
            && let Some((job, mut script)) = waiting.pop()
        {
            script.reverse();
            let first = script.last().map_or(0, |(wait, _)| *wait);
            running.push((now + first, job, script));
        }
        let Some(next) = (0..running.len()).min_by_key(|&place| running[place].0) else { break };
        let (at, job, script) = &mut running[next];
        if let Some((_, kind)) = script.pop() {
            events.push((*at - now, job.clone(), kind));
            now = *at;
        }
        match script.last() {
            Some((wait, _)) => *at += wait,
            None => drop(running.remove(next)),
        }
    }
    events
}

fn image(number: u16) -> String {
    let suite = ["bookworm", "trixie"][usize::from(number % 2)];
    let role = ["web", "database-replica", "ci"][usize::from(number % 3)];
    format!("debian-{suite}-{role}-{number}")
}

fn script(number: u16, image: &str) -> Script {
    match number % 7 {
        3 => same(image),
        5 => skipped(image),
        6 => failing(image),
        0 | 4 => warm(image).into_iter().chain(rest(image)).collect(),
        _ => cold(image).into_iter().chain(rest(image)).collect(),
    }
}

fn begin(image: &str) -> (u64, EventKind) {
    let template = format!("templates/{image}.toml").into();
    let plan = Digest::sha256("plan");
    (0, EventKind::BuildStarted { template, image: image.into(), plan, stages: 9 })
}

fn cold(image: &str) -> Script {
    let mut events = vec![begin(image), start(Stage::Source, "source")];
    events.extend(progress(Stage::Source, 640 << 20));
    events.extend([
        end(Stage::Source, "source", 41.2, 642_777_088, "debian bookworm, 3.0 GiB disk"),
        layer(Stage::Source, "source", LayerAction::Saved, ""),
        start(Stage::Boot, "boot"),
        status(Stage::Boot, "boot", "waiting for ssh"),
        end(Stage::Boot, "boot", 18.3, 0, "tcg, seabios"),
        start(Stage::Provision, "packages"),
        output("packages", "Reading package lists..."),
        output("packages", "Setting up libssl3:amd64 (3.0.17-1~deb12u3) ..."),
        end(Stage::Provision, "packages", 12.0, 0, "exit 0"),
        layer(Stage::Provision, "packages", LayerAction::Saved, ""),
    ]);
    events
}

/// A build that goes on at a layer, the second that it tries.
pub(super) fn warm(image: &str) -> Script {
    let changed = "its state was saved by QEMU 10.0.1 and this is 10.0.2; the machine boots from \
                   its disk";
    vec![
        begin(image),
        (
            500,
            EventKind::Waiting { what: "another build that makes the layer of `packages`".into() },
        ),
        (2500, cached(Stage::Source, "source", "3 h old").1),
        cached(Stage::Boot, "boot", "3 h old"),
        cached(Stage::Provision, "packages", "2 h old"),
        layer(Stage::Provision, "packages", LayerAction::Refused, changed),
        start(Stage::Restore, "restore"),
        status(Stage::Restore, "restore", "waiting for ssh"),
        end(Stage::Restore, "restore", 2.1, 0, "from the disk of `packages`"),
    ]
}

fn rest(image: &str) -> Script {
    let warning = "the second run changed 2 resources: the manifest does not converge, see the lines \
                   above";
    let mut events = vec![
        start(Stage::Provision, "install-nginx-and-its-modules"),
        (2000, output("nginx", "Created symlink /etc/systemd/system/multi-user.target.wants/nginx.service → /lib/systemd/system/nginx.service.").1),
        finish(Stage::Provision, "install-nginx-and-its-modules", Outcome::Done, "exit 0"),
        start(Stage::Provision, "puppet"),
        finish(Stage::Provision, "puppet", Outcome::Warning, warning),
        start(Stage::Seal, "seal"),
        end(Stage::Seal, "seal", 3.2, 0, ""),
        start(Stage::Capture, "capture"),
    ];
    events.extend(progress(Stage::Capture, 3 << 30));
    events.extend([
        end(Stage::Capture, "capture", 4.0, 851_968_000, "3.0 GiB read once"),
        start(Stage::Publish, "publish"),
        end(Stage::Publish, "publish", 0.3, 242_221_056, "2026.11.23-1"),
        start(Stage::Verify, "verify"),
        status(Stage::Verify, "verify", "booting 2 clones"),
        end(Stage::Verify, "verify", 25.0, 0, "4 of 4 passed"),
        ended(image, Outcome::Done, None),
    ]);
    events
}

fn failing(image: &str) -> Script {
    let error = "provision nginx failed: exit code 100: E: Unable to locate package ngnix";
    let mut events = cold(image);
    events.extend([
        start(Stage::Provision, "nginx"),
        (0, EventKind::Notice { level: Level::Warning, message: "emulating slowly".into() }),
        finish(Stage::Provision, "nginx", Outcome::Failed, "exit code 100"),
        ended(image, Outcome::Failed, Some(error)),
    ]);
    events
}

/// A build that has nothing to do.
pub(super) fn same(image: &str) -> Script {
    vec![begin(image), ended(image, Outcome::Cached, None)]
}

fn skipped(image: &str) -> Script {
    vec![ended(image, Outcome::Skipped, Some("its parent debian-12-base failed"))]
}

fn cached(stage: Stage, name: &str, detail: &str) -> (u64, EventKind) {
    let (name, detail, outcome) = (name.to_owned(), detail.to_owned(), Outcome::Cached);
    (200, EventKind::StageFinished { stage, name, outcome, seconds: 0.0, bytes: 0, detail })
}

fn layer(stage: Stage, name: &str, action: LayerAction, reason: &str) -> (u64, EventKind) {
    let (key, disk_bytes, state_bytes) = (Digest::sha256(name), 300 << 20, 270 << 20);
    let (name, reason) = (name.to_owned(), reason.to_owned());
    let kind = EventKind::Layer {
        stage,
        name,
        key,
        action,
        disk_bytes,
        state_bytes,
        age: 11_000.0,
        reason,
    };
    (0, kind)
}

fn ended(image: &str, outcome: Outcome, error: Option<&str>) -> (u64, EventKind) {
    let made = matches!(outcome, Outcome::Done | Outcome::Cached);
    let kind = EventKind::BuildFinished {
        outcome,
        reference: made.then(|| Reference::tag(image, "2026.11.23-1")),
        digest: made.then(|| Digest::sha256("m")),
        channel: (outcome == Outcome::Done).then(|| "dev".into()),
        virtual_size: made.then_some(4 << 30),
        stored_bytes: made.then_some(242_221_056),
        seconds: if made { 104.15 } else { 71.0 },
        error: error.map(str::to_owned),
    };
    (100, kind)
}

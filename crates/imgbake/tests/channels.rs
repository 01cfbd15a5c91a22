//! Channels at the command line, without guests: versions are published by the library.
#![expect(clippy::disallowed_methods, reason = "tests run the program")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use imgbake_build::{Capture, Naming, Registry};
use imgbake_disk::chunk::ChunkTable;
use imgbake_registry::Layout;
use imgbake_testkit::{Habits, Pause, TestRegistry, image_config};
use imgbake_types::Digest;
use imgbake_types::record::{VerifyRecord, VerifyStatus};
use serde_json::Value;

struct Home {
    dir: Utf8PathBuf,
    runtime: tokio::runtime::Runtime,
    _temp: tempfile::TempDir,
}

struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Home {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        Self { dir, runtime: tokio::runtime::Runtime::new().unwrap(), _temp: temp }
    }

    fn registry(&self) -> Utf8PathBuf {
        self.dir.join("home/registry")
    }

    /// Publishes versions of `web` that passed their verify: 1, 2, …
    fn publish(&self, count: u64) {
        fs::create_dir_all(self.registry()).unwrap();
        let layout = Layout::open(self.registry()).unwrap();
        for number in 1..=count {
            self.runtime.block_on(publish(&layout, number, VerifyStatus::Passed));
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imgbake"));
        command.env("IMGBAKE_HOME", self.dir.join("home")).env("NO_COLOR", "1").env("USER", "ada");
        command.env_remove("SUDO_USER").current_dir(&self.dir).args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::of(&self.command(args).output().unwrap())
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn points_at(&self, channel: &str) -> Value {
        self.run(&["show", channel, "--json"]).json()["version"].clone()
    }
}

impl Run {
    fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

async fn publish(layout: &Layout, number: u64, status: VerifyStatus) {
    let capture = Capture {
        sha256: Some(Digest::sha256("")),
        table: Arc::new(ChunkTable::new(0, &[], Vec::new()).unwrap()),
        packs: Vec::new(),
        read_bytes: 0,
        plain: None,
    };
    let mut config = image_config("web");
    config.labels.insert("number".to_owned(), number.to_string());
    let naming = Naming::Fixed(number.to_string().parse().unwrap());
    let version = layout.publish(&capture, config, &naming).await.unwrap();
    let record = VerifyRecord {
        subject: version.digest.clone(),
        time: "2026-11-23T11:00:00Z".parse().unwrap(),
        status,
        tests: Vec::new(),
        seconds: 2.0,
        disk_sha256: None,
    };
    imgbake_build::evidence::record_verify(&*layout.image("web"), &record).await.unwrap();
}

/// Of two that ended, one won; the other exits with 3 and says who was first.
fn one_was_first(home: &Home, children: [Child; 2], channel: &str) -> Value {
    let runs = children.map(|child| Run::of(&child.wait_with_output().unwrap()));
    let codes = [runs[0].code, runs[1].code];
    let (winner, loser) = match codes {
        [0, 3] => (&runs[0], &runs[1]),
        [3, 0] => (&runs[1], &runs[0]),
        _ => panic!("{codes:?}: {}{}", runs[0].err, runs[1].err),
    };
    let history = home.run(&["history", channel, "--json"]).json();
    let to = history[0]["to"]["version"].as_str().unwrap();
    assert!(winner.out.contains(&format!("is {to} now")), "{}", winner.out);
    // Long lines are broken.
    let words = loser.err.split_whitespace().filter(|word| *word != "│");
    let said = words.collect::<Vec<_>>().join(" ");
    for part in ["ada@", "moved it first, at 20", &format!("points at {to} now")] {
        assert!(said.contains(part), "{part}: {}", loser.err);
    }
    history
}

#[test]
fn of_two_promotions_at_once_one_is_made() {
    let home = Home::new();
    home.publish(2);
    // Both know where the channel is before either may change the registry.
    let lock = File::options().write(true).open(home.registry().join(".lock")).unwrap();
    lock.lock().unwrap();
    let children = ["web:1", "web:2"].map(|from| home.spawn(&["promote", from, "--to", "dev"]));
    for child in &children {
        waits_for_lock(child.id());
    }
    lock.unlock().unwrap();
    let history = one_was_first(&home, children, "web:dev");
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(home.points_at("web:dev"), history[0]["to"]["version"]);
}

/// Returns when a process waits for a lock of a file.
fn waits_for_lock(process: u32) {
    let limit = Instant::now() + Duration::from_secs(60);
    let waits = |line: &str| {
        line.contains("->") && line.split_whitespace().any(|word| word == process.to_string())
    };
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
        assert!(Instant::now() < limit, "it never came to the registry's lock");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn of_two_promotions_at_once_in_a_registry_one_is_made() {
    let home = Home::new();
    home.publish(2);
    let registry = home.runtime.block_on(TestRegistry::start(Habits::default()));
    let image = format!("{}/web", registry.host());
    let of = |tag: &str| format!("{image}:{tag}");
    for tag in ["1", "2"] {
        let pushed = home.run(&["push", &format!("web:{tag}"), &image]);
        assert_eq!(pushed.code, 0, "{}", pushed.err);
    }
    // Both know where the channel is before either may write.
    registry.pause(Pause { writes: true, ..Pause::default() });
    let children = ["1", "2"].map(|tag| home.spawn(&["promote", &of(tag), "--to", "dev"]));
    home.runtime.block_on(registry.paused(2));
    registry.resume();
    let history = one_was_first(&home, children, &of("dev"));
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(home.points_at(&of("dev")), history[0]["to"]["version"]);

    // The rest as in the local registry.
    let other = if history[0]["to"]["version"] == "1" { "2" } else { "1" };
    assert_eq!(home.run(&["promote", &of(other), "--to", "dev"]).code, 0);
    let back = home.run(&["rollback", &of("dev"), "--reason", "5xx"]);
    assert_eq!(back.code, 0, "{}", back.err);
    let moves = home.run(&["history", &of("dev"), "--json"]).json();
    assert_eq!(moves.as_array().unwrap().len(), 3);
    assert_eq!((&moves[0]["to"], &moves[0]["action"]), (&history[0]["to"], &"rollback".into()));
    assert_eq!(home.points_at(&of("dev")), history[0]["to"]["version"]);
    let images = home.run(&["images", &image, "--json"]).json();
    assert_eq!(images.as_array().unwrap().len(), 2, "records are no versions: {images}");
}

#[test]
fn a_channel_goes_back_and_its_history_says_so() {
    let home = Home::new();
    home.publish(3);
    for tag in ["web:1", "web:2", "web:3"] {
        assert_eq!(home.run(&["promote", tag, "--to", "prod"]).code, 0);
    }
    let back = home.run(&["rollback", "web:prod", "--reason", "5xx"]);
    assert_eq!(back.out, "web:prod is 2 now, and was 3 before\n", "{}", back.err);
    let back = home.run(&["rollback", "web:prod", "--to", "1"]);
    assert_eq!(back.out, "web:prod is 1 now, and was 2 before\n", "{}", back.err);
    let moves = home.run(&["history", "web:prod", "--json"]).json();
    let moves = moves.as_array().unwrap();
    let column = |key: &str| moves.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(column("number"), [5, 4, 3, 2, 1]);
    assert_eq!(column("action")[..3], ["rollback", "rollback", "promote"]);
    assert_eq!((&moves[1]["reason"], &moves[1]["from"]["version"]), (&"5xx".into(), &"3".into()));
    assert_eq!(moves[0]["previous"], moves[1]["record"]);
    assert_eq!(moves[0]["verdicts"][0]["gate"], "verified");
    let text = home.run(&["history", "web:prod"]).out;
    assert!(text.contains("rollback") && text.contains("5xx") && text.contains("ada@"), "{text}");

    for (args, code, words) in [
        (&["rollback", "web:prod", "--to", "9"][..], 2, "it never pointed at that version"),
        (&["rollback", "web:dev"], 1, "there is no web:dev"),
        (&["rollback", "web"], 2, "names no channel"),
        (&["rollback", "web:2026.11.23-1"], 2, "it looks like a version"),
        (&["promote", "web:1", "--to", "prod.history"], 2, "cannot be a channel"),
    ] {
        let run = home.run(args);
        assert_eq!(run.code, code, "{args:?}: {}", run.err);
        assert!(run.err.contains(words), "{args:?}: {}", run.err);
    }
}

#[test]
fn a_dry_run_prints_every_verdict_and_moves_nothing() {
    let home = Home::new();
    home.publish(1);
    let layout = Layout::open(home.registry()).unwrap();
    home.runtime.block_on(publish(&layout, 2, VerifyStatus::Failed));
    let good = home.run(&["promote", "web:1", "--to", "dev", "--dry-run"]);
    assert_eq!(good.code, 0, "{}", good.err);
    assert!(good.out.contains("verified") && good.out.contains("passed"), "{}", good.out);
    let bad = home.run(&["promote", "web:2", "--to", "dev", "--dry-run"]);
    assert_eq!(bad.code, 3, "{}", bad.err);
    assert!(bad.out.contains("refused") && bad.err.contains("failed verification"), "{}", bad.err);
    let none = home.run(&["history", "web:dev"]);
    assert!(none.code == 1 && none.err.contains("there is no web:dev"), "{}", none.err);
    let refused = home.run(&["promote", "web:2", "--to", "dev"]);
    assert_eq!(refused.code, 3);
    assert!(refused.err.contains("web:2 cannot be promoted to web:dev"), "{}", refused.err);
}

//! Kills, interrupts, two at once: nothing is left, nothing is lost.

use std::process::Child;

use imgbake_testkit::{TestHome, lock_guests, run_tool, tiny_template};
use serde_json::Value;

const STEPS: &str = r#"
[[provision]]
name = "one"
type = "shell"
inline = ["echo one > /etc/one", "head -c 4000000 /dev/urandom > /var/lib/blob"]
[[provision]]
name = "two"
type = "shell"
inline = ["echo two > /etc/two"]
[[test]]
name = "both"
run = "cat /etc/one /etc/two"
[publish]
channel = "dev"
"#;

#[test]
fn twelve_kills_leave_nothing() {
    let home = TestHome::new();
    let template = tiny_template(&home, "tiny", STEPS);
    let _lock = lock_guests();
    let moments: [(&str, &str, &str); 12] = [
        ("build_started", "", ""),
        ("stage_started", "source", "source"),
        ("stage_started", "boot", "boot"),
        ("stage_status", "boot", "boot"),
        ("stage_finished", "boot", "boot"),
        ("stage_started", "provision", "one"),
        ("stage_finished", "provision", "two"),
        ("stage_started", "seal", "seal"),
        ("stage_started", "capture", "capture"),
        ("stage_started", "publish", "publish"),
        ("stage_finished", "publish", "publish"),
        ("test_finished", "", ""),
    ];
    let mut published = 0;
    for (number, (kind, stage, name)) in moments.into_iter().enumerate() {
        let events = format!("kill-{number}.jsonl");
        let mut child = home.spawn("killed", &["build", template.as_str(), "--events", &events]);
        let reached = home.wait_for(&events, &mut child, |event| {
            event["type"] == kind
                && (stage.is_empty() || (event["stage"] == stage && event["name"] == name))
        });
        assert!(reached, "{kind} {stage} was never reported");
        child.kill().unwrap();
        child.wait().unwrap();
        let images = home.run(&["images", "--json"]).json();
        assert_eq!(home.leftovers(), Vec::<String>::new(), "after a kill at {kind} {stage}");
        // A version is there whole or not at all, and nobody has verified it.
        let images = images.as_array().unwrap().clone();
        assert!(images.len() >= published, "a version was lost");
        published = images.len();
        for image in images {
            assert_eq!(image["verify"]["status"], "unverified");
            assert!(image["channels"].as_array().unwrap().is_empty());
            let digest = format!("tiny@{}", image["digest"].as_str().unwrap());
            home.run(&["pull", &digest, "-o", "check.raw"]).exits(0);
        }
    }
    assert!(published >= 2, "the kills after publish left their versions");
    home.run(&["build", template.as_str()]).exits(0);
    assert_eq!(home.run(&["show", "tiny:dev", "--json"]).json()["verify"]["status"], "passed");
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn two_builds_at_once_are_two_versions() {
    let home = TestHome::new();
    let template = tiny_template(&home, "tiny", STEPS);
    let _lock = lock_guests();
    let mut builds: Vec<Child> = ["a", "b"]
        .into_iter()
        .map(|name| home.spawn(name, &["build", template.as_str()]))
        .collect();
    for (build, name) in builds.iter_mut().zip(["a", "b"]) {
        let status = build.wait().unwrap();
        let words = std::fs::read_to_string(home.dir().join(format!("{name}.err"))).unwrap();
        assert!(status.success(), "{words}");
    }
    let images = home.run(&["images", "--json"]).json();
    let images = images.as_array().unwrap();
    assert_eq!(images.len(), 2);
    assert_ne!(images[0]["version"], images[1]["version"]);
    let dev: Vec<&Value> = images
        .iter()
        .filter(|image| image["channels"].as_array().unwrap().contains(&"dev".into()))
        .collect();
    assert_eq!(dev.len(), 1);
    assert_eq!(home.run(&["history", "tiny:dev", "--json"]).json().as_array().unwrap().len(), 2);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn an_interrupt_cleans_up_and_a_kept_machine_lets_the_user_in() {
    let home = TestHome::new();
    let template = tiny_template(
        &home,
        "tiny",
        "[[provision]]\nname = \"long\"\ntype = \"shell\"\ninline = [\"echo begun; while :; do :; done\"]\n",
    );
    let _lock = lock_guests();
    let mut child =
        home.spawn("interrupted", &["build", template.as_str(), "--events", "events.jsonl"]);
    assert!(home.wait_for("events.jsonl", &mut child, |event| event["line"] == "begun"));
    run_tool("kill", &["-INT", &child.id().to_string()]).exits(0);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(home.leftovers(), Vec::<String>::new(), "before any other command");

    let template = tiny_template(
        &home,
        "tiny",
        "[[provision]]\nname = \"bad\"\ntype = \"shell\"\ninline = [\"echo here > /etc/here\", \"exit 9\"]\n",
    );
    let run = home.run(&["build", template.as_str(), "--on-error", "keep"]).exits(1);
    let access = run
        .stderr
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("ssh "))
        .unwrap_or_else(|| panic!("{run}"));
    let seen = run_tool("sh", &["-c", &format!("{access} cat /etc/here")]).exits(0);
    assert_eq!(seen.stdout, "here\n");
    // Another command leaves it alone; `clean` ends it.
    home.run(&["images"]).exits(0);
    run_tool("sh", &["-c", &format!("{access} true")]).exits(0);
    home.run(&["clean"]).exits(0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

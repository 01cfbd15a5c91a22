//! Many builds as one graph: what they share is made once, one waits for another's image, and one that
//! fails stops no other unless it shall.

use std::collections::BTreeMap;

use imgbake_testkit::{EventLog, TestHome, lock_all_guests, shell, tiny_template};

const UNVERIFIED: &str = "[verify]\nenabled = false\n";

#[test]
fn eight_builds_make_each_shared_layer_once() {
    let home = TestHome::new();
    let shared =
        ["one", "two", "three"].map(|name| shell(name, &format!("echo {name} > /etc/{name}")));
    let own = ["four", "five"]
        .map(|name| shell(name, &format!("echo {{{{ var.flavor }}}} > /etc/{name}")));
    let flavors = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let head = format!("[variables.flavor]\n[[matrix]]\nflavor = {flavors:?}\n");
    let template = tiny_template(
        &home,
        "tiny-{{ var.flavor }}",
        &[UNVERIFIED, &head, &shared.concat(), &own.concat()].concat(),
    );
    let _lock = lock_all_guests();
    let built = home.build(&[template.as_str(), "--parallel", "2"]);
    let (stderr, log) = (built.run.stderr.clone(), built.exits(0));

    // Each key was saved once, and what was saved ran once.
    let mut saved: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in log.layer_events("saved") {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        *saved.entry((text("name"), text("key"))).or_default() += 1;
    }
    assert!(saved.values().all(|times| *times == 1), "{saved:?}");
    let ran = log.ran();
    for (name, times) in
        [("source", 1), ("boot", 1), ("one", 1), ("two", 1), ("three", 1), ("four", 8), ("five", 8)]
    {
        assert_eq!(saved.keys().filter(|(saved, _)| saved == name).count(), times, "{name}");
        assert_eq!(ran.iter().filter(|ran| **ran == name).count(), times, "{name}");
    }
    assert!(!log.of("waiting").is_empty(), "the others waited for who made what they share");
    assert_eq!(log.of("build_queued").len(), 8);

    let images = home.run(&["images", "--json"]).json();
    let mut names: Vec<&str> =
        images.as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, flavors.map(|flavor| format!("tiny-{flavor}")));
    // The table comes last: a line for each.
    for name in names {
        let line = stderr.lines().rev().find(|line| line.trim_start().starts_with(name));
        assert!(line.is_some_and(|line| line.contains("done")), "{name}: {stderr}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

fn outcomes(log: &EventLog, images: &[&str]) -> Vec<String> {
    images.iter().map(|image| log.of_image(image).outcome().to_owned()).collect()
}

#[test]
fn a_child_waits_for_its_parent_and_a_failure_for_nobody() {
    let home = TestHome::new();
    let on = |name: &str, image: &str, steps: &str| {
        home.write(
            &format!("{name}.toml"),
            &format!(
                "[image]\nname = \"{name}\"\n[source]\nimage = \"{image}\"\n[builder.qemu]\nmemory = \"256MiB\"\n\
                 accel = \"tcg\"\n{UNVERIFIED}{steps}"
            ),
        )
    };
    let base = |text: &str| {
        let steps = shell("base", &format!("echo {text} > /etc/base"));
        tiny_template(&home, "base", &format!("{steps}[publish]\nchannel = \"dev\"\n"))
    };
    let child = on("child", "base:dev", &shell("child", "grep -qx new /etc/base"));
    let bad = tiny_template(&home, "bad", &format!("{UNVERIFIED}{}", shell("bad", "exit 3")));
    let orphan = on("orphan", "bad:dev", "");
    let _lock = lock_all_guests();
    home.build(&[base("old").as_str()]).exits(0);

    let old = home.run(&["show", "base:dev", "--json"]).json();
    let built = home.build(&[child.as_str(), bad.as_str(), orphan.as_str(), base("new").as_str()]);
    let (stderr, log) = (built.run.stderr.clone(), built.exits(1));
    let images = ["base", "child", "bad", "orphan"];
    assert_eq!(outcomes(&log, &images), ["done", "done", "failed", "skipped"], "{stderr}");
    let new = home.run(&["show", "base:dev", "--json"]).json();
    assert_ne!(old["digest"], new["digest"]);
    let shown = home.run(&["show", "child", "--json"]).json();
    assert_eq!(
        shown["parent"]["digest"], new["digest"],
        "the child is based on the version just built"
    );
    assert!(stderr.contains("exit code 3"), "{stderr}");
    for name in images {
        assert!(
            stderr.lines().any(|line| line.trim_start().starts_with(name)),
            "{name} in the table: {stderr}"
        );
    }

    // With --fail-fast, a build that would never end does.
    let endless = shell("endless", "echo begun; while :; do :; done");
    let endless = tiny_template(&home, "endless", &format!("{UNVERIFIED}{endless}"));
    let fast =
        home.build(&[endless.as_str(), bad.as_str(), "--fail-fast", "--parallel", "2"]).exits(1);
    assert_eq!(outcomes(&fast, &["endless", "bad"]), ["failed", "failed"]);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

//! A version goes to other registries and comes back, and is the same.

use std::os::unix::fs::PermissionsExt;

use imgbake_testkit::{
    DockerRegistry, DockerSettings, PASSWORD, TestHome, USER, lock_guests, run_tool, tiny_template,
};

#[test]
fn a_version_is_pushed_mirrored_and_fetched() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let locked = DockerRegistry::start(DockerSettings { tls: true, logins: true });
    let home = TestHome::new();
    let template = tiny_template(&home, "web", "[publish]\nchannel = \"dev\"\n");
    {
        let _lock = lock_guests();
        home.build(&[template.as_str()]).exits(0);
    }
    let shown = home.run(&["show", "web:dev", "--json"]).json();
    let (digest, version) = (shown["digest"].as_str().unwrap(), shown["version"].as_str().unwrap());

    // Out, under its own name, by a channel; the second time nothing moves.
    let open = format!("{}/team/web", docker.host());
    let pinned = format!("{open}:{version}");
    let pushed = home.run(&["push", "web:dev", &open, "--events", "push.jsonl"]).exits(0);
    assert_eq!(pushed.stdout, format!("{pinned} {digest}\n"));
    home.run(&["push", "web:dev", &open, "--events", "again.jsonl"]).exits(0);
    let moved = |events: &str| {
        let events = home.events(events);
        let copy = |event: &&serde_json::Value| {
            event["type"] == "stage_finished" && event["stage"] == "copy"
        };
        events.iter().find(copy).unwrap()["bytes"].as_u64().unwrap()
    };
    assert!(moved("push.jsonl") > 1 << 20);
    assert_eq!(moved("again.jsonl"), 0);

    pulls_with_nothing_at_hand(&open, &pinned, &shown);

    // Across, to a registry that wants TLS and a login.
    let mirror = format!("{}/mirror", locked.host());
    let (ca, login) = (locked.ca(), home.dir().join("auth.json"));
    let args = ["copy", &pinned, &mirror, "--ca", ca.as_str()];
    let refused = home.run(&args);
    refused.exits(1);
    let words = ["login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, "--authfile"];
    run_tool("skopeo", &[&words[..], &[login.as_str(), &locked.host()]].concat()).exits(0);
    let with_login = |args: &[&str]| {
        let output = home.command(args).env("REGISTRY_AUTH_FILE", login.as_str()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    with_login(&args);

    // The second time a helper knows the login.
    let helper = home.write(
        "bin/docker-credential-test",
        &format!("#!/bin/sh\nread -r host\necho '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"),
    );
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("{{\"credHelpers\": {{\"{}\": \"test\"}}}}", locked.host());
    let config = home.write("config.json", &config);
    let path = format!("{}:{}", helper.parent().unwrap(), "/usr/bin:/bin");
    let asked =
        home.command(&args).env("REGISTRY_AUTH_FILE", config).env("PATH", path).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));

    // Home, where nobody ever built it: the same version, and its bytes are all there.
    let other = TestHome::new();
    let from = format!("{mirror}:{version}");
    let fetched = other
        .command(&["copy", &from, "web", "--ca", ca.as_str()])
        .env("IMGBAKE_REGISTRY_USER", USER)
        .env("IMGBAKE_REGISTRY_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let there = other.run(&["show", "web", "--json"]).json();
    for key in ["digest", "version", "disk", "verify", "plan"] {
        assert_eq!(there[key], shown[key], "{key}");
    }
    other.run(&["pull", "web", "-o", "web.raw"]).exits(0);
    assert_eq!(other.leftovers(), Vec::<String>::new());
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_copied_is_said() {
    let home = TestHome::new();
    let docker = DockerRegistry::start(DockerSettings::default());
    let remote = format!("{}/web", docker.host());
    let pinned = format!("{remote}:1");
    let by_digest = format!("{remote}@sha256:{}", "0".repeat(64));
    for (args, code, part) in [
        (["push", "web", "web"], 2, "names no registry"),
        (["push", &pinned, "web"], 2, "imgbake copy"),
        (["copy", &remote, "web"], 2, "which version"),
        (["copy", "web", &by_digest], 2, "names a digest"),
        (["copy", &pinned, &remote], 2, "same place"),
        (["copy", &pinned, "web"], 1, "there is no"),
        (["push", "web", &remote], 1, "there is no image web"),
    ] {
        let run = home.run(&args);
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{args:?}: {}", run.stderr);
    }
    // A folder or a registry's repository: what could be both, or neither, says how to write it.
    let template = tiny_template(&home, "web", "");
    std::fs::create_dir_all(home.dir().join("r.example/cache")).unwrap();
    for (place, part) in [
        ("r.example/cache", "./r.example/cache"),
        ("r.example/other:1", "neither HOST/NAME"),
        ("https://r.example/other", "neither HOST/NAME"),
    ] {
        for args in [
            ["build", template.as_str(), "--cache-to", place],
            ["build", template.as_str(), "--cache-from", place],
            ["verify", "--deep", "--from", place],
        ] {
            let run = home.run(&args).exits(2);
            let log = run.stderr.replace(['\n', ' ', '│'], "");
            assert!(log.contains(&part.replace(' ', "")), "{args:?}: {}", run.stderr);
        }
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

/// Straight from a registry, by somebody who has neither layout nor seeds.
fn pulls_with_nothing_at_hand(open: &str, pinned: &str, shown: &serde_json::Value) {
    let fresh = TestHome::new();
    let disk = &shown["disk"];
    for file in ["web.raw", "web.qcow2"] {
        fresh.run(&["pull", pinned, "-o", file, "--events", "pull.jsonl"]).exits(0);
    }
    let raw = imgbake_types::Digest::sha256(std::fs::read(fresh.dir().join("web.raw")).unwrap());
    assert_eq!(disk["sha256"], raw.to_string());
    let qcow2 = fresh.dir().join("web.qcow2");
    run_tool("qemu-img", &["compare", fresh.dir().join("web.raw").as_str(), qcow2.as_str()])
        .exits(0);
    // What is under the name already is not moved again.
    fresh.run(&["pull", pinned, "-o", "web.raw", "--events", "same.jsonl"]).exits(0);
    let bytes = |events: &str| {
        let events = fresh.events(events);
        let copy = |event: &&serde_json::Value| {
            event["type"] == "stage_finished" && event["stage"] == "copy"
        };
        events.iter().find(copy).unwrap()["bytes"].as_u64().unwrap()
    };
    assert!(bytes("pull.jsonl") > 1 << 20 && bytes("same.jsonl") < 1 << 20);
    let listed = fresh.run(&["images", open, "--json"]).json();
    assert_eq!(listed[0]["digest"], shown["digest"]);
    assert_eq!(fresh.run(&["show", pinned, "--json"]).json()["verify"], shown["verify"]);
    assert!(!fresh.home().join("registry/index.json").exists());
    assert_eq!(fresh.leftovers(), Vec::<String>::new());
}

//! Scripts that are compared before and after a second run, on a real guest: what changes at each run fails the build
//! and is named, what settles passes, and the image has had one run.

use imgbake_testkit::{Run, TestHome, lock_guests, shell, tiny_template};
use serde_json::Value;

/// A step that is compared.
fn compared(name: &str, lines: &str, more: &str) -> String {
    format!("{}converge = \"check\"\n{more}", shell(name, lines))
}

/// What `imgbake converge` says of one script, after a step that makes what it needs.
fn converge(home: &TestHome, lines: &str, more: &str) -> (Run, Value) {
    let first = "mkdir -p /srv; echo a > /srv/a; echo b > /srv/b; ln -s a /srv/link; echo 1 > '/srv/it'\\''s \"x\"'";
    let rest = [shell("first", first), compared("step", lines, more)].concat();
    let template = tiny_template(home, "c", &rest);
    let run = home.run(&["converge", template.as_str(), "--json"]);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    (run, document["builds"][0].clone())
}

fn changed(proved: &Value) -> Vec<String> {
    let steps = proved["steps"].as_array().unwrap();
    let proof = &steps.iter().find(|step| step["name"] == "step").unwrap()["convergence"];
    let name = |one: &Value| {
        format!("{}[{}]", one["type"].as_str().unwrap(), one["name"].as_str().unwrap())
    };
    proof["changed"].as_array().into_iter().flatten().map(name).collect()
}

#[test]
fn what_changes_at_each_run_is_found_and_named() {
    let home = TestHome::new();
    let _lock = lock_guests();
    for (lines, names, words) in [
        (
            "cat /proc/sys/kernel/random/uuid > /srv/stamp",
            &["file[/srv/stamp]"][..],
            "content changed",
        ),
        ("echo run >> /srv/log", &["file[/srv/log]"], "4 → 8 bytes"),
        (
            "if [ $(stat -c %a /srv/a) = 644 ]; then chmod 600 /srv/a; else chmod 644 /srv/a; fi",
            &["file[/srv/a]"],
            "mode 0600 → 0644",
        ),
        (
            "if [ \"$(readlink /srv/link)\" = a ]; then ln -sfn b /srv/link; else ln -sfn a /srv/link; fi",
            &["file[/srv/link]"],
            "content changed",
        ),
        ("touch /srv/$(cat /proc/sys/kernel/random/uuid).tmp", &["file[/srv/"], "file created"),
        (
            "[ ! -e /srv/one ] || touch /srv/two; touch /srv/one",
            &["file[/srv/two]"],
            "file created",
        ),
        (
            "if [ -e /srv/b ]; then rm /srv/b; else mkdir -p /srv/b; fi",
            &["file[/srv/b]"],
            "folder created",
        ),
        (
            "echo \"u$(wc -l </etc/passwd):x:$(wc -l </etc/passwd):1::/:/bin/sh\" >> /etc/passwd",
            &["file[/etc/passwd]", "user[u"],
            "added",
        ),
        (
            "cat /proc/sys/kernel/random/uuid > '/srv/it'\\''s \"x\"'",
            &["file[/srv/it's \"x\"]"],
            "content changed",
        ),
    ] {
        let (run, proved) = converge(&home, lines, "");
        assert_eq!(
            (run.code, proved["outcome"].as_str()),
            (1, Some("not-converged")),
            "{lines}: {}",
            run.stderr
        );
        let found = changed(&proved);
        for name in names {
            assert!(found.iter().any(|one| one.starts_with(name)), "{lines}: {found:?}");
        }
        assert_eq!(found.len(), names.len(), "{lines}: {found:?}");
        let error = proved["error"].as_str().unwrap();
        assert!(error.contains("step `step` does not converge in one run"), "{error}");
        assert!(error.contains(words) || run.stderr.contains(words), "{lines}: {error}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn what_settles_passes_and_the_image_has_had_one_run() {
    let home = TestHome::new();
    let _lock = lock_guests();
    for (lines, more) in [
        ("grep -qx on /srv/conf 2>/dev/null || echo on > /srv/conf", ""),
        // The same bytes in a new file, with a new time.
        (
            "echo on > /srv/conf.new; mv /srv/conf.new /srv/conf; chmod 600 /srv/a; ln -sfn a /srv/link",
            "",
        ),
        ("date > /var/log/ran; date > /tmp/ran; mkdir -p /var/cache/x; date > /var/cache/x/y", ""),
        (
            "cat /proc/sys/kernel/random/uuid > /srv/stamp; echo x >> /srv/log",
            "converge_allow = [\"/srv/stamp\", \"file[/srv/l*]\"]\n",
        ),
    ] {
        let (run, proved) = converge(&home, lines, more);
        assert_eq!(
            (run.code, proved["outcome"].as_str()),
            (0, Some("converged")),
            "{lines}: {}",
            run.stderr
        );
    }
    let rest = [
        compared("counts", "echo run >> /srv-runs", "converge_allow = [\"/srv-runs\"]\n"),
        "[[test]]\nname = \"one run\"\nrun = '''[ \"$(wc -l </srv-runs)\" -eq 1 ]'''\n".to_owned(),
    ];
    let template = tiny_template(&home, "once", &rest.concat());
    home.build(&[template.as_str()]).exits(0);
    let shown = home.run(&["show", "once", "--json"]).json();
    let stages = shown["stages"].as_array().unwrap();
    let proof =
        &stages.iter().find(|stage| stage["name"] == "counts").unwrap()["report"]["convergence"];
    assert_eq!((proof["converged"].as_bool(), proof["place"].as_str()), (Some(true), Some("copy")));
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

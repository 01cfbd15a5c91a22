//! What builds leave behind about themselves: reports of steps, and records of builds.
use imgbake_testkit::{TestHome, assert_absent, lock_guests, shell, tiny_template};
use serde_json::Value;

const SECRET: &str = "c0rrect-horse-battery";

/// Three steps, of which the last may fail; the second uploads a file and prints a lot.
fn template(home: &TestHome, third: &str) -> String {
    let two = "[[provision]]\nname = \"two\"\ntype = \"file\"\ncontent = \"a = 1\\n\"\n\
               destination = \"/etc/two\"\n";
    let one = shell("one", "echo hello from one; echo careful >&2");
    let three = format!(
        "[variables.token]\nsensitive = true\n[[provision]]\nname = \"three\"\ntype = \"shell\"\n\
         env = {{ TOKEN = \"{{{{ var.token }}}}\" }}\ninline = ['''{third}''']\n"
    );
    let rest = ["[verify]\nenabled = false\n", &one, two, &three].concat();
    tiny_template(home, "tiny", &rest).into_string()
}

fn logs(home: &TestHome, args: &[&str]) -> Value {
    home.run(&[&["logs", "--json"], args].concat()).json()
}

fn stage<'a>(of: &'a Value, name: &str) -> &'a Value {
    of["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

fn printed(log: &Value, name: &str) -> Vec<String> {
    let outputs = log["outputs"].as_array().unwrap();
    let output = outputs.iter().find(|output| output["name"] == name).unwrap();
    let lines = output["lines"].as_array().unwrap();
    lines.iter().map(|line| line["line"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_build_leaves_its_log_and_its_steps_reports() {
    let home = TestHome::new();
    let var = format!("token={SECRET}");
    let build = |template: &str| home.run(&["build", template, "--var", &var]);
    let failing = template(&home, "echo the token is $TOKEN; echo it breaks; exit 9");
    let lock = lock_guests();
    let failed = build(&failing).exits(1);
    failed_in_its_third_step(&home, &failed.stderr);

    // The next build takes the first two steps from the cache, and says what they did.
    let good = build(&template(&home, "echo three")).exits(0);
    drop(lock);
    what_cached_steps_did(&home);

    let builds = home.run(&["builds", "tiny", "--json"]).json();
    let states: Vec<&str> =
        builds.as_array().unwrap().iter().map(|build| build["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["done", "failed"], "{good}");
    assert_eq!(builds[1]["failed"]["name"], "three");
    let text = home.run(&["builds"]).exits(0).stdout;
    assert!(text.contains("at provision three"), "{text}");
    assert_absent(SECRET, home.home().join("builds").as_str(), None);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

fn failed_in_its_third_step(home: &TestHome, error: &str) {
    let log = logs(home, &["latest"]);
    let id = log["id"].as_str().unwrap();
    assert!(error.contains(&format!("imgbake logs {id}")), "{error}");
    assert_eq!((&log["state"], &log["failed"]["name"]), (&"failed".into(), &"three".into()));
    assert_eq!(printed(&log, "three"), ["the token is ***", "it breaks"]);
    let one = printed(&log, "one");
    assert!(one.contains(&"hello from one".to_owned()) && one.contains(&"careful".to_owned()));
    let report = &stage(&log, "three")["report"];
    assert_eq!((&report["exit_code"], &report["outcome"]), (&9.into(), &"failed".into()));
    assert_eq!(stage(&log, "two")["report"]["counts"]["changed"], 1);

    // Any beginning of its name will do, and each step can be had alone.
    let part = id.strip_prefix("build-").unwrap();
    let text = home.run(&["logs", &part[..6]]).exits(0).stdout;
    for words in ["hello from one", "it breaks", "== report of three", "exit code: 9", "failed: "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let only = home.run(&["logs", id, "--step", "one"]).exits(0).stdout;
    assert!(only.contains("hello from one") && !only.contains("it breaks"), "{only}");
    let console = home.run(&["logs", id, "--console"]).exits(0).stdout;
    assert!(console.contains("== console of build"), "{console}");
    let stderr = home.run(&["logs", id, "--step", "thre"]).exits(1).stderr;
    assert!(stderr.contains("did you mean `three`?"), "{stderr}");
}

fn what_cached_steps_did(home: &TestHome) {
    let shown = home.run(&["show", "tiny", "--json"]).json();
    let one = stage(&shown, "one");
    assert_eq!((&one["cached"], &one["report"]["kind"]), (&true.into(), &"shell".into()));
    assert!(one["report"]["seconds"].as_f64().unwrap() > 0.0, "{one}");
    // A version is for others: what a step printed stays here.
    assert!(one["report"]["output"].is_null(), "{one}");
    let two = &stage(&shown, "two")["report"];
    let resource = &two["resources"][0];
    assert_eq!((&resource["name"], &resource["outcome"]), (&"/etc/two".into(), &"changed".into()));
    let sealed = &stage(&shown, "seal")["seal"];
    assert!(sealed["operations"].as_array().unwrap().len() > 5, "{sealed}");
    let text = home.run(&["show", "tiny"]).exits(0).stdout;
    assert!(text.contains("file, 1 changed, ran in"), "{text}");

    let log = logs(home, &["latest"]);
    assert_eq!(log["state"], "done");
    let cached = stage(&log, "one");
    assert_eq!(cached["outcome"], "cached");
    let lines = cached["report"]["output"]["lines"].to_string();
    assert!(lines.contains("hello from one"), "{cached}");
    let text = home.run(&["logs", "latest"]).exits(0).stdout;
    assert!(text.contains("hello from one") && text.contains("== provision one: cached"), "{text}");
}

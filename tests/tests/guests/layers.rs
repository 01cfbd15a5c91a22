//! Layers: what a change costs, what is kept, and what the user says about it.
use imgbake_testkit::{EventLog, TestHome, lock_guests, shell, tiny_template};
use serde_json::Value;

/// Most of these tests are not about the clone.
const UNVERIFIED: &str = "[verify]\nenabled = false\n";

/// What `imgbake plan` says of a step's layer.
fn planned(plan: &Value, step: &str) -> Value {
    let cache = plan["layers"].as_array().unwrap();
    cache.iter().find(|cached| cached["step"] == step).unwrap().clone()
}

#[track_caller]
fn why(plan: &Value, step: &str) -> String {
    let cached = planned(plan, step);
    assert_eq!(cached["cached"], false, "{cached}");
    cached["why"].as_str().unwrap().to_owned()
}

fn stage<'a>(shown: &'a Value, name: &str) -> &'a Value {
    shown["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

fn versions(home: &TestHome) -> usize {
    home.run(&["images", "--json"]).json().as_array().unwrap().len()
}

#[test]
fn a_change_costs_what_changed() {
    let home = TestHome::new();
    home.write("site.conf", "a = 1\n");
    let template = |last: &str| {
        let file = "[[provision]]\nname = \"two\"\ntype = \"file\"\nsource = \"site.conf\"\n\
                    destination = \"/etc/two\"\n";
        let test = format!(
            "[[test]]\nname = \"all three\"\n\
             run = '''grep -qx one /etc/one && grep -qx 'a = 1' /etc/two && grep -qx {last} /etc/three'''\n"
        );
        let one = shell("one", "echo one > /etc/one");
        let three = shell("three", &format!("echo {last} > /etc/three"));
        tiny_template(&home, "tiny", &[&one, file, &three, &test].concat())
    };
    let first = template("three");
    let _lock = lock_guests();
    let plan = home.run(&["plan", first.as_str(), "--json"]).json()[0].clone();
    assert_eq!(why(&plan, "one"), "never built");
    assert!(plan["version"].is_null(), "{plan}");
    let cold = home.build(&[first.as_str()]).exits(0);
    let steps = ["source", "boot", "one", "two", "three"];
    assert_eq!(cold.ran(), steps);
    assert_eq!(cold.layers("saved"), steps);
    assert_eq!(cold.ended("cached"), [""; 0]);

    nothing_to_do(&home, first.as_str(), &steps);

    let changed = template("drei");
    let plan = home.run(&["plan", changed.as_str(), "--json"]).json()[0].clone();
    assert!(why(&plan, "three").contains("inline"), "{plan}");
    assert_eq!(planned(&plan, "two")["cached"], true, "{plan}");
    let warm = home.build(&[changed.as_str()]).exits(0);
    only_the_last_ran(&warm, &steps);
    recorded(&home, &plan, &steps);

    // A file that a step in the middle reads: the plan names it.
    home.write("site.conf", "a = 2\n");
    let plan = home.run(&["plan", changed.as_str(), "--json"]).json()[0].clone();
    assert_eq!(planned(&plan, "one")["cached"], true, "{plan}");
    assert!(why(&plan, "two").contains("site.conf changed"), "{plan}");
    assert_eq!(why(&plan, "three"), "an earlier step changed");
    let text = home.run(&["plan", changed.as_str()]).exits(0).stdout;
    assert!(text.contains("site.conf changed"), "{text}");
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

fn nothing_to_do(home: &TestHome, template: &str, steps: &[&str]) {
    let plan = home.run(&["plan", template, "--json"]).json()[0].clone();
    for step in steps {
        let cached = planned(&plan, step);
        assert_eq!(cached["cached"], true, "{cached}");
        assert!(cached["age"].as_f64().unwrap() > 0.0, "{cached}");
        // A source's layer has no machine yet.
        assert_eq!(cached["state_bytes"].as_u64().unwrap() > 0, *step != "source", "{cached}");
    }
    let shown = home.run(&["show", "tiny", "--json"]).json();
    let version = format!("tiny:{}", shown["version"].as_str().unwrap());
    assert_eq!(plan["version"], version.as_str());
    let again = home.build(&[template]).exits(0);
    assert_eq!(again.outcome(), "cached");
    assert!(again.of("stage_started").is_empty(), "{again:?}");
    assert_eq!(again.of("build_finished")[0]["reference"], version.as_str());
    assert_eq!(versions(home), 1);
}

fn only_the_last_ran(warm: &EventLog, steps: &[&str]) {
    assert_eq!(warm.outcome(), "done");
    assert_eq!(warm.ended("cached"), steps[..4]);
    assert_eq!(warm.layers("used"), steps[..4]);
    assert_eq!(warm.layers("restored"), ["two"]);
    assert_eq!(warm.ran(), ["three"]);
    assert_eq!(warm.layers("saved"), ["three"]);
    let restores: Vec<Value> = warm
        .of("stage_finished")
        .into_iter()
        .filter(|e| e["stage"] == "restore")
        .cloned()
        .collect();
    assert_eq!(restores.len(), 1, "{restores:?}");
    assert_eq!((&restores[0]["name"], &restores[0]["outcome"]), (&"two".into(), &"done".into()));
}

/// The version says which layers it was built on, and how old each is.
fn recorded(home: &TestHome, plan: &Value, steps: &[&str]) {
    let shown = home.run(&["show", "tiny", "--json"]).json();
    assert_eq!(shown["verify"]["status"], "passed");
    let created: String = shown["created"].as_str().unwrap().to_owned();
    for (number, step) in steps.iter().enumerate() {
        let stage = stage(&shown, step);
        assert_eq!(stage["cached"], number < 4, "{stage}");
        if number < 4 {
            assert_eq!(stage["layer"]["key"], plan["steps"][number]["key"], "{stage}");
            assert!(stage["layer"]["created"].as_str().unwrap() < created.as_str(), "{stage}");
        } else {
            assert!(stage["layer"].is_null(), "{stage}");
        }
    }
}

#[test]
fn what_is_kept_is_what_the_user_says() {
    let home = TestHome::new();
    let one = shell("one", "echo one > /etc/one");
    let two = shell("two", "echo two > /etc/two");
    let template = |steps: &str| tiny_template(&home, "tiny", &format!("{UNVERIFIED}{one}{steps}"));
    let _lock = lock_guests();

    // A step that fails: the next build goes on before it.
    let failing = template(&shell("two", "echo broken > /etc/two; exit 7"));
    let failed = home.build(&[failing.as_str()]).exits(1);
    assert_eq!(failed.layers("saved"), ["source", "boot", "one"]);
    let mended =
        template(&(two.clone() + &shell("check", "[ $(cat /etc/one /etc/two | wc -l) = 2 ]")));
    let resumed = home.build(&[mended.as_str()]).exits(0);
    assert_eq!(resumed.layers("restored"), ["one"]);
    assert_eq!(resumed.ran(), ["two", "check"]);

    // A key of the user's own, and disks alone.
    let keyed = template(&format!("{two}cache_key = \"packages of today\"\n"));
    let plan = home.run(&["plan", keyed.as_str(), "--json"]).json()[0].clone();
    assert!(why(&plan, "two").contains("cache_key"), "{plan}");
    let booted = home.build(&[keyed.as_str(), "--cache", "disk"]).exits(0);
    assert_eq!((booted.layers("booted"), booted.layers("restored")), (vec!["one"], vec![]));
    assert_eq!(booted.ran(), ["two"]);
    assert_eq!(booted.layer_events("saved")[0]["state_bytes"], 0);
    assert_eq!(booted.reasons(), [""; 0]);

    // A step that is never cached.
    let last = shell("last", "cat /etc/one /etc/two");
    let uncached = template(&format!("{two}{last}cache = false\n"));
    for _ in 0..2 {
        let plan = home.run(&["plan", uncached.as_str(), "--json"]).json()[0].clone();
        assert_eq!(why(&plan, "last"), "cache = false");
        assert!(plan["version"].is_null(), "{plan}");
        let built = home.build(&[uncached.as_str()]).exits(0);
        assert_eq!(built.outcome(), "done");
        assert_eq!(built.layers("restored"), ["two"]);
        assert_eq!((built.ran(), built.layers("saved")), (vec!["last"], vec![]));
    }
    let off =
        home.command(&["plan", uncached.as_str(), "--json"]).env("IMGBAKE_CACHE", "off").output();
    let off: Value = serde_json::from_slice(&off.unwrap().stdout).unwrap();
    assert_eq!(planned(&off[0], "one")["cached"], false);

    least_recently_used_goes_first(&home);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

fn list(home: &TestHome) -> Vec<Value> {
    home.run(&["cache", "ls", "--json"]).json().as_array().unwrap().clone()
}

fn sum(layers: &[Value], key: &str) -> u64 {
    layers.iter().map(|layer| layer[key].as_u64().unwrap()).sum()
}

/// States go before disks, and leaves before what they are based on.
fn least_recently_used_goes_first(home: &TestHome) {
    let before = list(home);
    let names = |layers: &[Value]| -> Vec<String> {
        let mut names: Vec<String> =
            layers.iter().map(|layer| layer["name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    // `two` twice: with a key of the user's and without.
    assert_eq!(names(&before), ["boot", "check", "one", "source", "two", "two"]);
    assert!(sum(&before, "state_bytes") > 0);
    let prune = |to: u64| {
        home.run(&["cache", "prune", "--to", &format!("{}KiB", to.div_ceil(1024))]).exits(0)
    };

    prune(sum(&before, "disk_bytes"));
    let disks = list(home);
    assert_eq!(names(&disks), names(&before));
    assert_eq!(sum(&disks, "state_bytes"), 0);

    // One byte less than there is: the leaf that was not used for longest goes.
    prune(sum(&disks, "disk_bytes") - 1024);
    assert_eq!(names(&list(home)), ["boot", "one", "source", "two", "two"]);
    prune(sum(&list(home), "disk_bytes") - 1024);
    let left = list(home);
    assert_eq!(names(&left), ["boot", "one", "source", "two"]);
    let parents: Vec<&Value> = left.iter().map(|layer| &layer["parent"]).collect();
    assert_eq!(parents.iter().filter(|parent| parent.is_null()).count(), 1, "{left:?}");

    home.run(&["cache", "prune", "--all"]).exits(0);
    assert!(list(home).is_empty());
    assert!(home.layers().is_empty());
}

//! The whole flow on the tiny guest, and all that can be done with what it leaves.
use imgbake_testkit::{
    TestHome, assert_absent, lock_guests, run_tool, secret_forms, tiny_template,
};
use serde_json::Value;

/// Shell, file, a restart, a sensitive value, two clones under both firmwares, tests, a channel.
const STEPS: &str = r#"
[variables.token]
sensitive = true

[[provision]]
name = "mark"
type = "shell"
inline = ["echo $GREETING > /etc/mark", "echo the token is $TOKEN", "printf %s $TOKEN | base64"]
env = { GREETING = "hello", TOKEN = "{{ var.token }}" }

[[provision]]
name = "restart"
type = "shell"
inline = ["cat /proc/sys/kernel/random/boot_id > /etc/boot-before", "reboot"]
reboot = "expected"

[[provision]]
name = "after the restart"
type = "shell"
inline = ["[ $(cat /proc/sys/kernel/random/boot_id) != $(cat /etc/boot-before) ]"]

[[provision]]
name = "site"
type = "file"
source = "site"
destination = "/srv/site"
mode = "0640"

[verify]
clones = 2
firmware = ["bios", "uefi"]

[[test]]
name = "mark is there"
run = "grep -qx hello /etc/mark"

[[test]]
name = "site is there"
run = "[ \"$(stat -c '%a %U' /srv/site/a/index.html)\" = '640 root' ]"

[publish]
channel = "dev"
"#;

const SECRET: &str = "tr0ub4dor-and-3-horses";

fn strings(value: &Value, key: &str) -> Vec<String> {
    value[key].as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_template_becomes_a_tested_version_in_its_channel() {
    let home = TestHome::new();
    home.write("site/a/index.html", "<h1>hello</h1>\n");
    let template = tiny_template(&home, "tiny", STEPS);
    let var = format!("token={SECRET}");
    let lock = lock_guests();
    let run = home
        .run(&["build", template.as_str(), "--var", &var, "--events", "events.jsonl", "--verbose"])
        .exits(0);
    drop(lock);

    // The version.
    let shown = home.run(&["show", "tiny:dev", "--json"]).json();
    assert_eq!(shown["verify"]["status"], "passed", "{run}");
    assert_eq!(strings(&shown, "channels"), ["dev"]);
    assert!(
        shown["disk"]["stored_bytes"].as_u64().unwrap()
            < shown["disk"]["virtual_size"].as_u64().unwrap()
    );
    let stages: Vec<&str> = shown["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        stages,
        [
            "source",
            "boot",
            "provision",
            "provision",
            "provision",
            "provision",
            "seal",
            "capture",
            "verify"
        ]
    );
    for clone in ["verify-1", "verify-2"] {
        let of: Vec<&Value> = shown["verify"]["tests"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|test| test["machine"] == clone)
            .collect();
        assert!(of.iter().any(|test| test["name"] == "mark is there"), "{shown}");
        assert!(of.iter().all(|test| test["passed"] == true), "{shown}");
    }
    let names = shown["verify"]["tests"].to_string();
    for name in [
        "clones differ in machine-id",
        "clones differ in ssh-host-key",
        "a restart is no second first boot",
    ] {
        assert!(names.contains(name), "{name}: {names}");
    }

    // Nothing is left, and the secret is nowhere.
    assert_eq!(home.leftovers(), Vec::<String>::new());
    assert!(run.stderr.contains("the token is ***"), "{run}");
    for form in secret_forms(SECRET) {
        assert!(!format!("{run}").contains(&form), "{form} in {run}");
    }
    assert_absent(SECRET, home.dir().as_str(), None);

    promote_and_history(&home, &shown);
    other_tools_read_it(&home, &shown);
    pull_in_every_format(&home);
    a_child_of_it(&home);
    the_registry_is_cared_for(&home);
}

fn promote_and_history(home: &TestHome, shown: &Value) {
    let moved = home.run(&["promote", "tiny:dev", "--to", "prod", "--reason", "tests are green"]);
    assert!(moved.stdout.starts_with("tiny:prod is ") && moved.stderr.is_empty(), "{moved}");
    assert_eq!(moved.code, 0);
    let prod = home.run(&["show", "tiny:prod", "--json"]).json();
    assert_eq!(prod["digest"], shown["digest"]);
    let history = home.run(&["history", "tiny:prod", "--json"]).json();
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(history[0]["to"]["digest"], shown["digest"]);
    assert_eq!(history[0]["reason"], "tests are green");
    assert!(history[0]["who"].as_str().unwrap().contains('@'));
    let text = home.run(&["history", "tiny:prod"]).exits(0).stdout;
    assert!(text.contains("tests are green"), "{text}");
}

fn other_tools_read_it(home: &TestHome, shown: &Value) {
    let source = format!("oci:{}/registry:tiny:dev", home.home());
    let inspected = run_tool("skopeo", &["inspect", &source]).json();
    assert_eq!(inspected["Digest"], shown["digest"]);
    assert_eq!(inspected["Architecture"], "amd64");
    let copy = format!("oci:{}/copied:tiny", home.dir());
    run_tool("skopeo", &["--insecure-policy", "copy", "--all", &source, &copy]).exits(0);
    let copied = run_tool("skopeo", &["inspect", &copy]).json();
    assert_eq!(copied["Digest"], shown["digest"]);
}

fn pull_in_every_format(home: &TestHome) {
    for format in ["raw", "qcow2", "vmdk", "vhd", "vhdx"] {
        let file = format!("out/d.{format}");
        home.run(&["pull", "tiny:dev", "-o", &file]).exits(0);
        let path = home.dir().join(&file);
        if ["qcow2", "vmdk", "vhdx"].contains(&format) {
            run_tool("qemu-img", &["check", path.as_str()]).exits(0);
        }
        let raw = home.dir().join("out/d.raw");
        if format != "vhd" {
            run_tool("qemu-img", &["compare", raw.as_str(), path.as_str()]).exits(0);
        }
        let dir = home.dir().join("out");
        let check = format!("cd {dir} && sha256sum --check d.{format}.sha256");
        run_tool("sh", &["-c", &check]).exits(0);
    }
    let raw = home.dir().join("out/d.raw");
    for form in secret_forms(SECRET) {
        run_tool("grep", &["-a", "-c", "-F", "--", &form, raw.as_str()]).exits(1);
    }
    let shown = home.run(&["show", "tiny:dev", "--json"]).json();
    let sums = std::fs::read_to_string(home.dir().join("out/d.raw.sha256")).unwrap();
    assert_eq!(format!("sha256:{}", &sums[..64]), shown["disk"]["sha256"].as_str().unwrap());
    let twice = ["out/again.qcow2", "out/d.qcow2"].map(|file| home.dir().join(file));
    home.run(&["pull", "tiny:dev", "-o", "out/again.qcow2", "--sync"]).exits(0);
    assert!(
        std::fs::read(&twice[0]).unwrap() == std::fs::read(&twice[1]).unwrap(),
        "two pulls differ"
    );
    std::fs::remove_dir_all(home.dir().join("out")).unwrap();
}

/// A version is a source as well, and the child says which.
fn a_child_of_it(home: &TestHome) {
    let template = home.write(
        "child.toml",
        r#"
[image]
name = "child"
[source]
image = "tiny:prod"
[builder.qemu]
memory = "256MiB"
accel = "tcg"
[[provision]]
type = "shell"
inline = ["grep -qx hello /etc/mark", "echo child > /etc/child"]
[[test]]
run = "grep -qx child /etc/child"
"#,
    );
    let lock = lock_guests();
    home.run(&["build", template.as_str()]).exits(0);
    drop(lock);
    let child = home.run(&["show", "child", "--json"]).json();
    let parent = home.run(&["show", "tiny:prod", "--json"]).json();
    assert_eq!(child["parent"]["digest"], parent["digest"]);
    assert_eq!(child["verify"]["status"], "passed");
    assert!(strings(&child, "channels").is_empty());
    // It was published by what its overlays hold: a small part, and nobody hashed the whole.
    let captured = child["stages"].as_array().unwrap().iter().find(|s| s["stage"] == "capture");
    let (new, all) = (&captured.unwrap()["bytes"], &child["disk"]["stored_bytes"]);
    assert!(new.as_u64().unwrap() < all.as_u64().unwrap() / 2, "{child}");
    let blob = |digest: &Value| -> Value {
        let name = digest.as_str().unwrap().replace(':', "/");
        let bytes = std::fs::read(home.home().join("registry/blobs").join(name)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let manifest = |of: &Value| blob(&blob(&of["digest"])["manifests"][0]["digest"]);
    let config = blob(&manifest(&child)["config"]["digest"]);
    assert!(config["io.imgbake.image"]["disk"]["sha256"].is_null(), "{config}");
    let packs = |of: &Value| -> Vec<Value> {
        let layers = manifest(of)["layers"].as_array().unwrap()[1..].to_vec();
        layers.into_iter().map(|layer| layer["digest"].clone()).collect()
    };
    let (old, new) = (packs(&parent), packs(&child));
    assert!(old.iter().all(|pack| new.contains(pack)), "{old:?} {new:?}");
    // The verify learnt the digest, and it is that of the disk.
    home.run(&["pull", "child", "-o", "out/child.raw"]).exits(0);
    let sums = std::fs::read_to_string(home.dir().join("out/child.raw.sha256")).unwrap();
    assert_eq!(format!("sha256:{}", &sums[..64]), child["disk"]["sha256"].as_str().unwrap());
    let images = home.run(&["images", "--json"]).json();
    assert_eq!(images.as_array().unwrap().len(), 2);
}

/// Damage is reported and repaired; what the rules do not keep is deleted, and nothing else.
fn the_registry_is_cared_for(home: &TestHome) {
    let sound = home.run(&["verify", "--deep", "--json"]).exits(0).json();
    assert!(sound["damaged"].as_array().unwrap().is_empty(), "{sound}");
    let spare = home.dir().join("spare");
    run_tool("cp", &["-r", home.home().join("registry").as_str(), spare.as_str()]).exits(0);
    let blobs = home.home().join("registry/blobs/sha256");
    let sized = |entry: &camino::Utf8DirEntry| entry.metadata().unwrap().len();
    let entries: Vec<_> = blobs.read_dir_utf8().unwrap().map(Result::unwrap).collect();
    let largest = entries.iter().max_by_key(|entry| sized(entry)).unwrap();
    let mut bytes = std::fs::read(largest.path()).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(largest.path(), &bytes).unwrap();
    home.run(&["verify"]).exits(0);
    let damaged = home.run(&["verify", "--deep"]).exits(1);
    assert!(damaged.stdout.contains(largest.file_name()), "{damaged}");
    assert!(damaged.stdout.contains("needed by child:"), "{damaged}");
    assert!(damaged.stderr.contains("damaged: 1 blob"), "{damaged}");
    let mended = home.run(&["verify", "--deep", "--from", spare.as_str()]).exits(0);
    assert!(mended.stdout.contains(&format!("put back from {spare}")), "{mended}");
    home.run(&["verify", "--deep"]).exits(0);

    let plain = home.run(&["gc", "--dry-run", "--json"]).exits(0).json();
    assert!(plain["versions"].as_array().unwrap().iter().all(|version| version["kept"] == true));
    home.write("imgbake.toml", "[retention]\nkeep = 1\n");
    home.run(&["hold", "child"]).exits(2);
    home.run(&["hold", "child", "--reason", "an audit"]).exits(0);
    home.run(&["gc", "--grace", "0s"]).exits(0);
    home.run(&["show", "tiny:prod"]).exits(0);
    home.run(&["verify", "--deep"]).exits(0);
    home.run(&["hold", "child", "--release"]).exits(0);
    home.write("imgbake.toml", "[retention]\nkeep_for = 1\n");
    assert!(home.run(&["gc"]).exits(2).stderr.contains("keep_for"));
}

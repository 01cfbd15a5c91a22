//! What may leave this home, and this user: a shared cache, and what a sensitive value leaves behind.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::os::unix::fs::PermissionsExt;

use imgbake_testkit::{TestHome, assert_absent, run_tool, shell, tiny_template, turn};
use serde_json::Value;

const SECRET: &str = "c0rrect-horse-battery";

/// Two steps before the one that is given the value, one after it, and what else a test wants.
fn template(home: &TestHome, head: &str, more: &str) -> camino::Utf8PathBuf {
    let steps = [
        shell("one", "echo one > /etc/one"),
        shell("two", "echo two > /etc/two"),
        shell("token", "[ -n \"$TOKEN\" ] && touch /etc/token")
            + "env = { TOKEN = \"{{ var.token }}\" }\n",
        shell("last", "cat /etc/one /etc/two && [ -e /etc/token ]"),
    ];
    let head = format!("[verify]\nenabled = false\n[variables.token]\nsensitive = true\n{head}");
    tiny_template(home, "tiny", &format!("{head}{}{more}", steps.concat()))
}

#[test]
fn a_shared_cache_serves_an_empty_home() {
    let (maker, empty) = (TestHome::new(), TestHome::new());
    let shared = maker.dir().join("shared");
    let var = format!("token={SECRET}");
    let _turn = turn();
    let made = maker
        .build(&[template(&maker, "", "").as_str(), "--var", &var, "--cache-to", shared.as_str()])
        .exits(0);
    assert_eq!(made.layers("saved"), ["source", "boot", "one", "two", "token", "last"]);
    assert_eq!(made.warnings(), [""; 0]);

    let taken = empty
        .build(&[template(&empty, "", "").as_str(), "--var", &var, "--cache-from", shared.as_str()])
        .exits(0);
    assert_eq!(taken.layers("used"), ["source", "boot", "one", "two"]);
    assert_eq!((taken.layers("booted"), taken.layers("restored")), (vec!["two"], vec![]));
    assert_eq!(taken.ran(), ["token", "last"]);
    assert_eq!(taken.warnings(), [""; 0]);

    // What has seen a sensitive value was never there; other tools read what is.
    assert_absent(SECRET, shared.as_str(), None);
    let keys =
        ["token", "last"].map(|name| maker.layer(name).record["key"].as_str().unwrap().to_owned());
    for key in keys {
        let hex = key.trim_start_matches("sha256:");
        let found = run_tool("grep", &["-r", "-a", "-l", "-F", "--", hex, shared.as_str()]);
        assert_eq!((found.code, found.stdout.as_str()), (1, ""), "{key}");
    }
    let index: Value =
        serde_json::from_slice(&std::fs::read(shared.join("index.json")).unwrap()).unwrap();
    let names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str())
        .collect();
    assert!(names.len() >= 4, "{index}");
    for name in names {
        run_tool("skopeo", &["inspect", "--raw", &format!("oci:{shared}:{name}")]).exits(0);
    }
    for home in [&maker, &empty] {
        assert_eq!(home.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_secret_leaves_no_memory() {
    let home = TestHome::new();
    let var = format!("token={SECRET}");
    let careful = template(&home, "", "");
    let _turn = turn();
    let built = home.build(&[careful.as_str(), "--var", &var, "--verbose"]);
    assert!(!format!("{}", built.run).contains(SECRET));
    built.exits(0);
    for (name, kept) in
        [("boot", true), ("one", true), ("two", true), ("token", false), ("last", false)]
    {
        assert_eq!(home.layer(name).state().exists(), kept, "{name}");
    }
    everything_is_private(&home);
    let cache = home.home().join("cache");
    assert_absent(SECRET, cache.as_str(), Some("disk.qcow2"));

    // The disks serve all the same.
    let more = shell("more", "cat /etc/one");
    let longer = template(&home, "", &more);
    let warm = home.build(&[longer.as_str(), "--var", &var]).exits(0);
    assert_eq!((warm.layers("booted"), warm.ran()), (vec!["last"], vec!["more"]));

    // The template may say that the memory is kept.
    home.run(&["cache", "prune", "--all"]).exits(0);
    let willing =
        template(&home, "[cache]\nsensitive_memory = true\n", &more.replace("one", "two"));
    home.build(&[willing.as_str(), "--var", &var]).exits(0);
    assert!(home.layer("token").state().exists() && home.layer("last").state().exists());
    everything_is_private(&home);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

/// Folders 0700, files 0600.
fn everything_is_private(home: &TestHome) {
    let cache = home.home().join("cache");
    let mode = std::fs::metadata(&cache).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    for folder in ["layers", "locks"].map(|name| cache.join(name)) {
        let found = run_tool("find", &[folder.as_str(), "-perm", "/077"]).exits(0).stdout;
        assert_eq!(found, "", "others may look into these");
    }
}

//! What may leave this home, and this user: a shared cache, and what a sensitive value leaves behind.
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;
use imgbake_testkit::{
    DockerRegistry, DockerSettings, TestHome, assert_absent, lock_guests, run_tool, shell,
    tiny_template,
};

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
fn a_shared_cache_serves_empty_homes() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let repository = format!("{}/team/layers", docker.host());
    let maker = TestHome::new();
    let var = format!("token={SECRET}");
    let _lock = lock_guests();
    let made = maker
        .build(&[template(&maker, "", "").as_str(), "--var", &var, "--cache-to", &repository])
        .exits(0);
    assert_eq!(made.layers("saved"), ["source", "boot", "one", "two", "token", "last"]);
    assert_eq!(made.warnings(), [""; 0]);

    // A layout holds the same layers.
    let shared = maker.dir().join("shared");
    copy_layers(&repository, &shared);
    for from in [repository.as_str(), shared.as_str()] {
        let empty = TestHome::new();
        let taken = empty
            .build(&[template(&empty, "", "").as_str(), "--var", &var, "--cache-from", from])
            .exits(0);
        assert_eq!(taken.layers("used"), ["source", "boot", "one", "two"]);
        assert_eq!((taken.layers("booted"), taken.layers("restored")), (vec!["two"], vec![]));
        assert_eq!(taken.ran(), ["token", "last"]);
        assert_eq!(taken.warnings(), [""; 0]);
        assert_eq!(empty.leftovers(), Vec::<String>::new());
    }

    // What has seen a sensitive value was never there.
    assert_absent(SECRET, shared.as_str(), None);
    let keys =
        ["token", "last"].map(|name| maker.layer(name).record["key"].as_str().unwrap().to_owned());
    for key in keys {
        let hex = key.trim_start_matches("sha256:");
        let found = run_tool("grep", &["-r", "-a", "-l", "-F", "--", hex, shared.as_str()]);
        assert_eq!((found.code, found.stdout.as_str()), (1, ""), "{key}");
    }
    assert_eq!(maker.leftovers(), Vec::<String>::new());
}

/// Copies all layers of a registry's repository into a layout, with another tool.
fn copy_layers(repository: &str, layout: &Utf8Path) {
    let remote = format!("docker://{repository}");
    let listed = run_tool("skopeo", &["list-tags", "--tls-verify=false", &remote]).json();
    let tags = listed["Tags"].as_array().unwrap();
    assert_eq!(tags.len(), 4, "{listed}");
    for tag in tags.iter().map(|tag| tag.as_str().unwrap()) {
        let (from, to) = (format!("{remote}:{tag}"), format!("oci:{layout}:{tag}"));
        let args = ["--insecure-policy", "copy", "--src-tls-verify=false", &from, &to];
        run_tool("skopeo", &args).exits(0);
    }
}

#[test]
fn a_secret_leaves_no_memory() {
    let home = TestHome::new();
    let var = format!("token={SECRET}");
    let careful = template(&home, "", "");
    let _lock = lock_guests();
    // Nobody is at port 1: that is log, and no more.
    let nobody = ["--cache-to", "127.0.0.1:1/layers", "--cache-from", "127.0.0.1:1/layers"];
    let built =
        home.build(&[&[careful.as_str(), "--var", &var, "--verbose"][..], &nobody].concat());
    assert!(!format!("{}", built.run).contains(SECRET));
    let built = built.exits(0);
    let log = built.warnings();
    let about = |words: &str| log.iter().filter(|log| log.contains(words)).count();
    let counts = (about("no further use"), about("is not shared"), about("127.0.0.1:1"));
    assert_eq!(counts, (1, 4, 5), "{log:?}");
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

//! Caches that cannot be used, and layers that are not what was saved: it is said once, and the build
//! goes on.
use std::fs;
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use imgbake_testkit::{
    Built, EventLog, TestHome, can_mount, lock_guests, run_with_mounts, shell, tiny_template,
};

const UNVERIFIED: &str = "[verify]\nenabled = false\n";

/// The build succeeded, with one word about its cache, and nothing was used or saved.
#[track_caller]
fn went_without(built: Built, words: &str) {
    let said = built.run.stderr.matches("no layer is used or saved").count();
    assert_eq!(said, 1, "{}", built.run);
    assert!(built.run.stderr.contains(words), "{words}: {}", built.run);
    let log = built.exits(0);
    assert_eq!((log.outcome(), log.of("layer").len()), ("done", 0));
    assert_eq!(log.ran(), ["source", "boot"]);
}

#[test]
fn a_cache_that_cannot_be_used_is_told_once() {
    assert!(can_mount(), "a file system in a namespace of its own: run it as root");
    let home = TestHome::new();
    let template = tiny_template(&home, "tiny", UNVERIFIED);
    let _lock = lock_guests();

    home.write("home/cache/layers", "this is no folder\n");
    went_without(home.build(&[template.as_str()]), "is not a folder");

    fs::remove_file(home.layers_dir()).unwrap();
    home.write("home/cache/layers/format", "0\n");
    home.write("home/cache/layers/0123/disk.qcow2", "of old\n");
    went_without(home.build(&[template.as_str()]), "of format 0");
    assert!(home.layers_dir().join("0123/disk.qcow2").exists(), "it is not ours to touch");
    home.run(&["cache", "prune", "--all"]).exits(0);
    assert!(!home.layers_dir().join("0123").exists());

    let events = home.free_events();
    let run = run_with_mounts(
        &home,
        "mount -t tmpfs -o ro none \"$IMGBAKE_HOME/cache/layers\"",
        &["build", template.as_str(), "--events", &events],
    );
    went_without(Built { run, events: home.event_log(&events) }, "cache/layers");

    // Room for a version, and not for a machine's memory beside it.
    let events = home.free_events();
    let steps = shell("one", "echo one > /etc/one") + &shell("two", "echo two > /etc/two");
    let template = tiny_template(&home, "tiny", &format!("{UNVERIFIED}{steps}"));
    let run = run_with_mounts(
        &home,
        "mount -t tmpfs -o size=200M none \"$IMGBAKE_HOME\"",
        &["build", template.as_str(), "--events", &events],
    );
    let log = Built { run, events: home.event_log(&events) }.exits(0);
    assert_eq!(log.outcome(), "done");
    assert_eq!(log.warnings().len(), 1, "{:?}", log.warnings());
    assert!(log.warnings()[0].contains("memory is not kept"), "{:?}", log.warnings());
    assert_eq!(log.layers("saved"), ["source", "boot", "one", "two"]);
    assert!(log.layer_events("saved").iter().all(|layer| layer["state_bytes"] == 0));
}

/// Changes one byte in the middle of a file.
fn change_a_byte(path: &Utf8Path) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn halve(path: &Utf8Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// A damage.
type Damage = fn(&TestHome);

/// What is done to the layer of `two`, and what is said of it.
const DAMAGES: [(&str, Damage, &str); 3] = [
    ("its state cut", |home| halve(&home.layer("two").state()), "its state is not what was saved"),
    (
        "a byte of its disk changed",
        |home| change_a_byte(&home.layer("two").disk()),
        "its disk is not what was saved",
    ),
    (
        "its record emptied",
        |home| fs::write(home.layer("two").json(), "").unwrap(),
        "its layer.json",
    ),
];

#[test]
fn a_damaged_layer_is_refused_and_made_again() {
    let home = TestHome::new();
    let steps = shell("one", "echo one > /etc/one")
        + &shell(
            "two",
            "head -c 1000000 /dev/urandom > /var/lib/two; sha256sum /var/lib/two > /etc/two",
        );
    let template = |round: usize, machine: &str| {
        let last =
            shell("last", &format!("echo {round}; sha256sum -c /etc/two && grep -qx one /etc/one"));
        tiny_template(&home, "tiny", &format!("{machine}{UNVERIFIED}{steps}{last}"))
    };
    let _lock = lock_guests();
    home.build(&[template(0, "").as_str()]).exits(0);
    for (round, (what, damage, words)) in (1..).zip(DAMAGES) {
        damage(&home);
        let log = home.build(&[template(round, "").as_str()]).exits(0);
        assert_eq!(log.reasons().len(), 1, "{what}: {:?}", log.reasons());
        assert!(log.reasons()[0].contains(words), "{what}: {:?}", log.reasons());
        assert_eq!(log.layers("refused"), ["two"], "{what}");
        assert_eq!(log.layers("restored"), ["one"], "{what}");
        assert_eq!(log.ran(), ["two", "last"], "{what}");
        assert_eq!(log.layers("saved"), ["two", "last"], "{what}");
        said_nothing_else(&log, what);
    }

    // A machine that does not answer in time: another is booted from the disk.
    let hasty = template(9, "restore_timeout = \"1ms\"\n");
    let log = home.build(&[hasty.as_str()]).exits(0);
    assert_eq!((log.layers("refused"), log.layers("booted")), (vec!["two"], vec!["two"]));
    assert!(log.reasons()[0].contains("a machine boots from its disk"), "{:?}", log.reasons());
    assert_eq!(log.ran(), ["last"]);
    said_nothing_else(&log, "a hasty restore");
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

fn said_nothing_else(log: &EventLog, what: &str) {
    assert_eq!(log.warnings(), [""; 0], "{what}");
}

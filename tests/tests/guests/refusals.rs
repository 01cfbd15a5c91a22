//! What must not pass does not: failed tests, residues, machines that fall, unfit base disks.
use imgbake_testkit::{TestHome, lock_guests, tiny_template};

fn versions(home: &TestHome) -> usize {
    home.run(&["images", "--json"]).json().as_array().unwrap().len()
}

#[test]
fn a_failed_test_keeps_the_version_out_of_every_channel() {
    let home = TestHome::new();
    let good = tiny_template(
        &home,
        "tiny",
        "[[test]]\nname = \"true\"\nrun = \"true\"\n[publish]\nchannel = \"dev\"\n",
    );
    let bad = tiny_template(
        &home,
        "tiny",
        "[[test]]\nname = \"says no\"\nrun = \"echo why not; exit 3\"\n\
         [[test]]\nname = \"never ends\"\nrun = \"while :; do :; done\"\ntimeout = \"2s\"\n\
         [publish]\nchannel = \"dev\"\n",
    );
    let _lock = lock_guests();
    home.run(&["build", good.as_str()]).exits(0);
    let dev = home.run(&["show", "tiny:dev", "--json"]).json();
    let run = home.run(&["build", bad.as_str()]).exits(1);
    assert!(run.stderr.contains("says no") && run.stderr.contains("why not"), "{run}");
    assert!(run.stderr.contains("never ends"), "{run}");
    assert_eq!(versions(&home), 2);
    assert_eq!(home.run(&["show", "tiny:dev", "--json"]).json()["digest"], dev["digest"]);

    let failed = home.run(&["show", "tiny", "--json"]).json();
    assert_eq!(failed["verify"]["status"], "failed");
    let reference = format!("tiny:{}", failed["version"].as_str().unwrap());
    let refused = home.run(&["promote", &reference, "--to", "prod"]).exits(3);
    assert!(refused.stderr.contains("says no"), "{refused}");
    assert_eq!(home.run(&["show", "tiny:prod"]).code, 1);
    home.run(&["promote", "tiny:dev", "--to", "prod"]).exits(0);
    home.run(&["promote", &reference, "--to", "prod"]).exits(3);
    assert_eq!(home.run(&["show", "tiny:prod", "--json"]).json()["digest"], dev["digest"]);

    // The test can be tried again, and fails again.
    home.run(&["test", &reference]).exits(1);
    home.run(&["test", "tiny:dev"]).exits(0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn a_secret_in_the_image_fails_the_build() {
    let home = TestHome::new();
    let template = tiny_template(
        &home,
        "leaky",
        "[variables.token]\nsensitive = true\n\
         [[provision]]\nname = \"leak\"\ntype = \"shell\"\nenv = { T = \"{{ var.token }}\" }\n\
         inline = [\"mkdir -p /opt/app\", \"echo key=$T > /opt/app/config\"]\n",
    );
    let _lock = lock_guests();
    let run =
        home.run(&["build", template.as_str(), "--var", "token=a-very-secret-value"]).exits(1);
    assert!(run.stderr.contains("sensitive value `token`"), "{run}");
    assert!(!run.stderr.contains("a-very-secret-value"), "{run}");
    assert_eq!(versions(&home), 0);

    // The same secret, written and deleted again: seal's trim takes it out of the free blocks.
    let template = tiny_template(
        &home,
        "clean",
        "[variables.token]\nsensitive = true\n\
         [[provision]]\nname = \"use\"\ntype = \"shell\"\nenv = { T = \"{{ var.token }}\" }\n\
         inline = [\"mkdir -p /opt/app\", \"echo key=$T > /opt/app/config\", \"sync\", \"rm -r /opt/app\"]\n",
    );
    home.run(&["build", template.as_str(), "--var", "token=a-very-secret-value"]).exits(0);
    assert_eq!(versions(&home), 1);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn a_machine_that_falls_is_told_at_once() {
    let home = TestHome::new();
    let step = |inline: &str| {
        format!("[[provision]]\nname = \"fall\"\ntype = \"shell\"\ninline = [{inline:?}]\n")
    };
    let _lock = lock_guests();
    for (inline, words) in [
        ("echo c > /proc/sysrq-trigger; while :; do :; done", "panic"),
        ("reboot; while :; do :; done", "restart"),
        ("poweroff; while :; do :; done", "powered off by itself"),
        ("echo the last words; exit 7", "exit code 7"),
    ] {
        let template = tiny_template(&home, "tiny", &step(inline));
        let run = home.run(&["build", template.as_str()]).exits(1);
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
    assert_eq!(versions(&home), 0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn a_disk_that_does_not_boot_is_told_with_its_console() {
    let home = TestHome::new();
    std::fs::File::create(home.dir().join("empty.raw")).unwrap().set_len(64 << 20).unwrap();
    let template = home.write(
        "empty.toml",
        "[image]\nname = \"empty\"\n[source]\nurl = \"empty.raw\"\nchecksum = \"none\"\nallow_unverified = true\n\
         [builder.qemu]\nmemory = \"256MiB\"\naccel = \"tcg\"\nboot_timeout = \"6s\"\n",
    );
    let _lock = lock_guests();
    let run = home.run(&["build", template.as_str()]).exits(1);
    assert!(run.stderr.contains("ssh"), "{run}");
    assert!(
        run.stderr.contains("SeaBIOS") || run.stderr.contains("bootable"),
        "the console's last lines: {run}"
    );

    let template = home.write(
        "truncated.toml",
        "[image]\nname = \"cut\"\n[source]\nurl = \"cut.qcow2\"\nchecksum = \"none\"\nallow_unverified = true\n",
    );
    std::fs::write(home.dir().join("cut.qcow2"), b"QFI\xfb\0\0\0\x03").unwrap();
    let run = home.run(&["build", template.as_str()]).exits(1);
    assert!(run.stderr.contains("cut.qcow2"), "{run}");

    let template = home.write(
        "wrong.toml",
        &format!(
            "[image]\nname = \"wrong\"\n[source]\nurl = \"empty.raw\"\nchecksum = \"sha256:{}\"\n",
            "0".repeat(64)
        ),
    );
    let run = home.run(&["build", template.as_str()]).exits(1);
    // Both digests: the one expected, and that of 64 MiB of zeros.
    assert!(run.stderr.contains("0000000000000000"), "{run}");
    assert!(
        run.stderr.contains("3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351"),
        "{run}"
    );
    assert_eq!(versions(&home), 0);
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn a_full_disk_is_named_and_leaves_no_half_version() {
    assert!(
        imgbake_testkit::can_mount(),
        "a small tmpfs in a namespace of its own: run it as root"
    );
    let home = TestHome::new();
    let template = tiny_template(&home, "tiny", "[verify]\nenabled = false\n");
    let _lock = lock_guests();
    // Sizes at which different stages fail: the machine's overlay, capture, publish.
    for mib in [2, 12, 24] {
        let run = imgbake_testkit::run_on_small_disk(&home, mib, &["build", template.as_str()]);
        assert_eq!(run.code, 1, "{mib} MiB: {run}");
        assert!(run.stderr.contains("no space left on the file system"), "{mib} MiB: {run}");
        assert!(run.stdout.contains("versions: []"), "{mib} MiB: {run}");
    }
}

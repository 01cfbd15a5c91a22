//! A machine that goes on is as good as one that was booted: fresh randomness, the right time, the same
//! image in the end.
use imgbake_testkit::{
    EventLog, Root, TestHome, Volatile, differences, lock_guests, shell, tiny_template,
};

/// Prints what two machines must not share, and what each must have right. perl asks for the time
/// (clock_gettime(2), number 228 on x86_64): busybox's `date` gives whole seconds.
const LOOK: &str = r#"
cat /run/reseed
head -c 32 /dev/urandom | base64 | sed 's/^/random /'
for n in 1 2 3; do
    perl -e 'my $t = "\0" x 16; syscall 228, 0, $t; my ($s, $n) = unpack "qq", $t; printf "clock %d.%06d\n", $s, $n / 1000'
done
for dir in /proc/[0-9]*; do
    if [ "$(cat $dir/comm 2>/dev/null)" = sshd ]; then echo "sshd $(tr '\0' ' ' < $dir/cmdline)"; fi
done
"#;

/// Puts something in perl's place that also reports each call with entropy to credit: a digest of it,
/// and how the call ended. Two machines that go on from one state may print different random numbers by
/// chance, from what their interrupts gave; that each was reseeded, and with what, is seen here.
const WATCH_PERL: &str = r#"
perl=$(command -v perl); mv $perl $perl.real
cat > $perl <<EOF
#!/bin/sh
$perl.real "\$@"; ended=\$?
[ -z "\$ENTROPY" ] || echo "reseed \$(echo \$ENTROPY | sha256sum | cut -c 1-64) \$ended" >> /run/reseed
exit \$ended
EOF
chmod 755 $perl
"#;

#[test]
fn restored_machines_differ() {
    let home = TestHome::new();
    let base = shell("base", WATCH_PERL);
    let first = tiny_template(&home, "first", &format!("[verify]\nenabled = false\n{base}"));
    let templates = ["left", "right"].map(|name| {
        // Different text: else the second build would use the first one's layer.
        let last = shell("last", &format!("echo {name} > /etc/name\n{LOOK}"));
        tiny_template(&home, name, &format!("[verify]\nclones = 2\n{base}{last}"))
    });
    let _lock = lock_guests();
    home.build(&[first.as_str()]).exits(0);
    let log =
        home.build(&[templates[0].as_str(), templates[1].as_str(), "--parallel", "2"]).exits(0);
    let log = ["left", "right"].map(|name| log.of_image(name));
    for log in &log {
        assert_eq!(log.layers("restored"), ["base"], "{:?}", log.reasons());
        assert_eq!(log.ran(), ["last"]);
        // A clock that had stood still since then would be seen.
        let age = log.layer_events("restored")[0]["age"].as_f64().unwrap();
        assert!(age > 2.0, "saved only {age} s ago");
        the_clock_is_right(log);
        // The listener, and one session: that of the build that saved the machine is gone.
        let daemons = log.lines("last", "sshd ");
        assert_eq!(daemons.len(), 2, "{daemons:?}");
    }
    let reseeds = log.each_ref().map(|log| log.lines("last", "reseed ")[0].1);
    assert!(
        reseeds.iter().all(|reseed| reseed.len() == 66 && reseed.ends_with(" 0")),
        "{reseeds:?}"
    );
    assert_ne!(reseeds[0], reseeds[1], "two machines were given the same entropy");
    let random = log.each_ref().map(|log| log.lines("last", "random ")[0].1);
    assert!(random[0].len() >= 44, "{random:?}");
    assert_ne!(random[0], random[1], "two machines print the same random numbers");
    for name in ["left", "right"] {
        let shown = home.run(&["show", name, "--json"]).json();
        assert_eq!(shown["verify"]["status"], "passed", "{shown}");
    }
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

/// Right to a second, in the best of three looks: each takes its time to get here.
fn the_clock_is_right(log: &EventLog) {
    let off: Vec<f64> = log
        .lines("last", "clock ")
        .into_iter()
        .map(|(host, guest)| guest.parse::<f64>().unwrap() - host)
        .collect();
    assert_eq!(off.len(), 3);
    assert!(off.iter().any(|off| off.abs() <= 1.0), "the guest's clock is off by {off:?} s");
}

/// What two images of one template may differ in.
const VOLATILE: [Volatile; 0] = [];

#[test]
fn warm_is_cold() {
    let home = TestHome::new();
    let steps = [
        shell("users", "useradd -m -p '*' web && mkdir -p /srv/web && chown web: /srv/web"),
        shell(
            "files",
            "seq 1 200000 > /srv/web/numbers; ln -s numbers /srv/web/link; chmod 640 /srv/web/numbers",
        ),
        shell("less", "rm /srv/web/link; truncate -s 1000 /srv/web/numbers"),
        shell("restart", "reboot") + "reboot = \"expected\"\n",
        shell("last", "touch /srv/web/last; cp -a /srv/web /srv/copy"),
    ];
    let template = |count: usize| {
        tiny_template(
            &home,
            "tiny",
            &format!("[verify]\nenabled = false\n{}", steps[..count].concat()),
        )
    };
    let _lock = lock_guests();
    for count in 1..=steps.len() {
        let warm = home.build(&[template(count).as_str()]).exits(0);
        if count > 1 {
            assert_eq!(warm.layers("restored").len(), 1, "{:?}", warm.reasons());
            assert_eq!(warm.ran().len(), 1);
        }
    }
    home.run(&["pull", "tiny", "-o", "warm.raw"]).exits(0);
    let warm = home.run(&["show", "tiny", "--json"]).json();

    let cold = home.build(&[template(steps.len()).as_str(), "--no-cache"]).exits(0);
    assert_eq!(cold.ran().len(), 2 + steps.len());
    assert!(cold.of("layer").is_empty(), "{:?}", cold.of("layer"));
    home.run(&["pull", "tiny", "-o", "cold.raw"]).exits(0);
    let cold = home.run(&["show", "tiny", "--json"]).json();
    assert_eq!(warm["plan"]["digest"], cold["plan"]["digest"]);
    assert_ne!(warm["version"], cold["version"]);

    let roots = ["warm.raw", "cold.raw"].map(|disk| Root::open(&home.dir().join(disk)));
    assert!(roots[0].read("/etc/passwd").windows(4).any(|word| word == b"web:"));
    assert_eq!(differences(&roots[0], &roots[1], &VOLATILE), Vec::<String>::new());
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

//! Planting: every canary reaches its place, the seal removes it, and identities are reported.

use imgbake_build::Seed;

use super::tree::{Machine, SHELLS, spec};
use crate::plant::{self, Canary};

#[test]
fn plants_and_seals() {
    for shell in SHELLS {
        let machine = Machine::new(shell);
        machine.stub("logger", "cat >>\"$(dirname \"$0\")\"/../var/log/journal-stub");
        machine.write("root/.bash_history", "ls\n");
        machine.write("proc/uptime", "12.34 10.00\n");
        machine.write("etc/resolv.conf", "search lan\nnameserver 10.0.2.3\n");
        machine.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        machine.write("var/lib/systemd/random-seed", "0123456789abcdefghijklmnopqrstuvwxyz");
        machine.write("etc/ssh/ssh_host_rsa_key", &format!("BEGIN\n1\n2\n3\n{}\n", "p".repeat(70)));
        machine.write(
            "etc/ssh/ssh_host_rsa_key.pub",
            &format!("ssh-rsa AAAAB3{} root@x\n", "q".repeat(60)),
        );
        machine.write(
            "etc/salt/pki/minion/minion.pem",
            &format!("BEGIN\n{}\n{}\nEND\n", "r".repeat(64), "s".repeat(64)),
        );
        let selection = crate::check(&spec(&[], &[])).expect("selects");
        let canaries = Canary::all(&selection);
        let reported = machine.plant(&canaries);

        let tokens: Vec<String> = canaries
            .iter()
            .map(|canary| String::from_utf8(canary.pattern().bytes).expect("text"))
            .collect();
        let places = [
            "tmp/imgbake-canary",
            "var/tmp/imgbake-canary",
            "root/.bash_history",
            "var/log/imgbake-canary.log",
            "root/.netrc",
            "var/log/journal-stub",
        ];
        for (place, token) in places.iter().zip(&tokens) {
            assert!(
                machine.read(place).is_some_and(|text| text.contains(token)),
                "{shell:?} {place}"
            );
        }
        assert!(!machine.path("var/lib/imgbake-deleted").exists());
        assert!(
            machine.calls().iter().all(|call| !tokens.iter().any(|token| call.contains(token))),
            "never in argv"
        );

        assert_eq!(plant::resolv_conf(&reported), "search lan\nnameserver 10.0.2.3\n");
        let seed = Seed::new("build-1", "build", "root", true);
        let found = plant::identities(&reported, &selection, &seed);
        let names: Vec<&str> = found.iter().map(|pattern| pattern.name.as_str()).collect();
        let key = "ssh host key /etc/ssh/ssh_host_rsa_key";
        assert_eq!(
            names,
            [
                "machine id of the build's machine",
                "random seed /var/lib/systemd/random-seed",
                key,
                key,
                "agent's key /etc/salt/pki/minion/minion.pem"
            ],
            "{reported}"
        );
        assert_eq!(found[1].bytes, b"0123456789abcdefghijklmnopqrstuv");
        assert_eq!(found[4].bytes, [b's'; 64]);

        machine.seal(&spec(&[], &[]));
        for place in places.iter().filter(|place| !place.ends_with("stub")) {
            assert_eq!(machine.read(place), None, "{shell:?} {place}");
        }
        assert_eq!(machine.read("var/log/journal-stub").as_deref(), Some(""));
    }
}

#[test]
fn an_older_resolv_conf_is_the_base_images() {
    let machine = Machine::new(super::tree::Shell::Busybox);
    machine.write("proc/uptime", "12.34 10.00\n");
    machine.write("etc/resolv.conf", "nameserver 192.0.2.1\n");
    let file = std::fs::File::open(machine.path("etc/resolv.conf")).expect("opens");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.set_modified(old).expect("sets the time");
    assert_eq!(plant::resolv_conf(&machine.plant(&[])), "");
}
